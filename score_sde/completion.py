"""Shell completion: `eval "$(python main.py --completion bash)"`.

The printed script contains all flags, modes, samplers, fields and names, so that completing does not start Python. Config files and their
variants are looked up when TAB is pressed: the variants in VARIANTS = {...} of the file.
"""

from __future__ import annotations

from absl import flags

from score_sde.fields import known_fields
from score_sde.flag_table import MODES, SHELLS
from score_sde.samplers.names import SAMPLERS


def script(shell: str, values: flags.FlagValues) -> str:
    """The script for the shell to evaluate."""
    return SCRIPTS[shell].replace("@WORDS@", words(values)).strip("\n")


def words(values: flags.FlagValues) -> str:
    """A line for each flag and field, followed by its possible values separated by spaces."""
    taken = {"mode": tuple(MODES), "sampler": tuple(SAMPLERS), "completion": SHELLS}
    own = [name for name in values if name not in ("help", "helpfull", "flagfile", "undefok")]
    lines = [
        f"--{name} {' '.join(taken.get(name, ()))}"
        if not isinstance(values[name], flags.Flag) or not values[name].boolean
        else f"--{name}! "
        for name in own
    ]
    lines += ["--help! ", "--helpfull! ", "--flagfile "]
    lines += [f"--config.{name} {' '.join(f.choices)}" for name, f in known_fields().items()]
    return "\n".join(line.strip() for line in sorted(lines))


# In all three scripts a line of words is `--name`, `--name value value ...`, or `--name!` for a flag without a value. _score_sde_variants
# reads the keys of VARIANTS = {...} in a config file, up to the closing line.
VARIANTS = r"""sed -n '/^VARIANTS/,/^}/p' "$1" 2>/dev/null | grep -oE '(^|[{,])[[:space:]]*"[A-Za-z0-9_]+": *\(' | grep -oE '[A-Za-z0-9_]+'"""

BASH = r"""
# Completion of score-sde's main.py for bash. Use: eval "$(python main.py --completion bash)"
_score_sde_words='@WORDS@'

_score_sde_variants() { VARIANTS_OF; }

_score_sde_names() {  # the values that a flag or field takes
  local name line
  while IFS= read -r line; do
    if [[ ${line%% *} == "$1" && $line == *' '* ]]; then
      printf '%s\n' ${line#* }
    fi
  done <<< "$_score_sde_words"
}

_score_sde_files() {  # $1: what is typed of a config file, FILE.py[:VARIANT], or of a trained folder
  local file=${1/#\~\//$HOME/}
  if [[ $1 == *.py:* ]]; then
    compgen -P "${1%%:*}:" -W "$(_score_sde_variants "${file%%:*}")" -- "${1#*:}"
    return
  fi
  local found
  while IFS= read -r found; do
    if [[ -d $found ]]; then
      printf '%s/\n' "$found"
    elif [[ $found == *.py || $found == *.json ]]; then
      printf '%s\n' "$found"
    fi
  done < <(compgen -f -- "$file")
}

_score_sde() {
  # The words anew: bash cuts them at : and =, and puts what is chosen in the place of the last piece only.
  local typed=${COMP_LINE:0:COMP_POINT} words cur prev cut="" line
  read -ra words <<< "$typed"
  [[ $typed == *' ' ]] && words+=("")
  local at=$((${#words[@]} - 1))
  local script=${words[1]-}
  if [[ ${words[0]##*/} != main.py ]]; then
    if [[ ${script##*/} != main.py || $at -lt 2 ]]; then
      if [[ -n ${_score_sde_before-} ]] && declare -F "$_score_sde_before" >/dev/null; then
        "$_score_sde_before" "$@"
      fi
      return
    fi
  fi
  cur=${words[at]} prev=${words[at - 1]}
  local name=$prev value=$cur
  if [[ $cur == --*=* ]]; then
    name=${cur%%=*} value=${cur#*=} cut="$name="
  elif [[ $cur == -* || $prev != --* || $prev == *=* || $_score_sde_words == *"$prev!"* ]]; then
    name="" value=$cur
  fi
  COMPREPLY=()
  case $name in
    "")
      [[ $cur == -* || -z $cur ]] || return
      while IFS= read -r line; do
        line=${line%% *}
        [[ $line == "$cur"* || $line == "$cur"*! ]] || continue
        if [[ $line == *! ]]; then COMPREPLY+=("${line%!} "); else COMPREPLY+=("$line="); fi
      done <<< "$_score_sde_words"
      # Hundreds of fields are shown only once a field is begun, and then a section at a time.
      local step=() seen=" " rest
      for line in "${COMPREPLY[@]}"; do
        if [[ $line == --config.* ]]; then
          [[ $cur == --config.* ]] || continue
          rest=${line#--config.} rest=${rest#"${cur#--config.}"}
          if [[ ${rest%=} == *.* ]]; then line=${line%"$rest"}${rest%%.*}.; fi
          [[ $seen == *" $line "* ]] && continue
          seen+="$line "
        fi
        step+=("$line")
      done
      COMPREPLY=("${step[@]}")
      compopt -o nospace 2>/dev/null ;;
    --config)
      while IFS= read -r line; do COMPREPLY+=("$cut$line"); done < <(_score_sde_files "$value")
      compopt -o nospace 2>/dev/null ;;
    *)
      while IFS= read -r line; do
        [[ $line == "$value"* ]] && COMPREPLY+=("$cut$line ")
      done < <(_score_sde_names "$name")
      if [[ ${#COMPREPLY[@]} -eq 0 ]]; then  # a path perhaps
        while IFS= read -r line; do
          if [[ -d $line ]]; then COMPREPLY+=("$cut$line/"); else COMPREPLY+=("$cut$line "); fi
        done < <(compgen -f -- "${value/#\~\//$HOME/}")
      fi
      compopt -o nospace 2>/dev/null ;;
  esac
  # What bash has before the last of its cuts stays as it is.
  local kept=""
  if [[ $COMP_WORDBREAKS == *=* && $cur == *=* ]]; then kept=${cur%%=*}=; fi
  if [[ $COMP_WORDBREAKS == *:* && $cur == *:* ]]; then kept=${cur%:*}:; fi
  if [[ -n $kept ]]; then
    local i
    for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]#"$kept"}; done
  fi
}

if [[ -z ${_score_sde_before-} ]]; then  # whatever completes python elsewhere goes on doing so
  _score_sde_before=$(complete -p python 2>/dev/null | sed -n 's/.*-F \([^ ]*\).*/\1/p')
  if [[ $_score_sde_before == _score_sde ]]; then _score_sde_before=""; fi
fi
complete -o bashdefault -o default -F _score_sde python python3 main.py
""".replace("VARIANTS_OF", VARIANTS)

ZSH = r"""
# Completion of score-sde's main.py for zsh. Use: eval "$(python main.py --completion zsh)"
_score_sde_words='@WORDS@'

_score_sde_variants() { VARIANTS_OF; }

_score_sde() {
  if [[ ${words[1]:t} != main.py && ( ${words[2]:t} != main.py || $CURRENT -lt 3 ) ]]; then
    autoload -Uz +X _python 2>/dev/null && _python || _files
    return
  fi
  local cur=${words[CURRENT]} prev=${words[CURRENT-1]} name="" line word rest value
  local -a known offered
  known=("${(f)_score_sde_words}")
  if [[ $cur == --*=* ]]; then
    name=${cur%%=*}
    compset -P 1 '*='
  elif [[ $cur != -* && $prev == --* && $prev != *=* && -z ${known[(r)$prev!]} ]]; then
    name=$prev
  fi
  value=${cur#$name=}
  if [[ -z $name ]]; then
    for line in $known; do
      word=${line%% *}
      if [[ $word == *! ]]; then
        offered+=("${word%!} ")
      elif [[ $word != --config.* ]]; then
        offered+=("$word=")
      elif [[ $cur == --config.* && $word == $cur* ]]; then  # a section at a time
        rest=${word#$cur}
        if [[ $rest == *.* ]]; then offered+=("${word%$rest}${rest%%.*}."); else offered+=("$word="); fi
      fi
    done
    compadd -S '' -Q -- ${(u)offered}
  elif [[ $name == --config && $value == *.py:* ]]; then
    compset -P 1 '*:'
    compadd -- $(_score_sde_variants "${${value%%:*}/#\~/$HOME}")
  elif [[ $name == --config ]]; then
    _files -S '' -g '*.(py|json)'
  else
    for line in $known; do
      if [[ $line == "$name "* ]]; then offered=(${=line#* }); fi
    done
    if (( $#offered )); then compadd -- $offered; else _files; fi
  fi
}

(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _score_sde python python3 main.py
""".replace("VARIANTS_OF", VARIANTS)

FISH = r"""
# Completion of score-sde's main.py for fish. Use: python main.py --completion fish | source
set -g _score_sde_words '@WORDS@'

function _score_sde_variants
    VARIANTS_OF
end

function _score_sde_paths
    set -l typed (string replace -r '^~/' $HOME/ -- $argv[1])
    for file in $typed*
        test -d $file; and echo $file/; or echo $file
    end
end

function _score_sde_complete
    set -l current (commandline -ct)
    set -l before (commandline -opc)
    set -l name ''
    set -l value $current
    set -l cut ''
    if string match -q -- '--*=*' $current
        set name (string split -m 1 = -- $current)[1]
        set value (string split -m 1 = -- $current)[2]
        set cut "$name="
    else if not string match -q -- '-*' $current; and string match -q -- '--*' $before[-1]
        and not string match -q -- '*=*' $before[-1]
        and not contains -- "$before[-1]!" (string split \n -- $_score_sde_words)
        set name $before[-1]
    end
    if test -z "$name"
        for line in (string split \n -- $_score_sde_words)
            set -l word (string split -m 1 ' ' -- $line)[1]
            if string match -q -- '*!' $word
                string replace '!' '' -- $word
            else if not string match -q -- '--config.*' $word; or string match -q -- '--config.*' $current
                echo "$word="
            end
        end
    else if test "$name" = --config
        if string match -q -- '*.py:*' $value
            set -l file (string split -m 1 : -- $value)[1]
            for variant in (_score_sde_variants $file)
                echo "$cut$file:$variant"
            end
        else
            for file in (_score_sde_paths $value)
                string match -q -r '(/|\.py|\.json)$' -- $file; and echo "$cut$file"
            end
        end
    else
        set -l any no
        for line in (string split \n -- $_score_sde_words)
            set -l found (string split ' ' -- $line)
            if test "$found[1]" = "$name"
                for one in $found[2..]
                    set any yes
                    echo "$cut$one"
                end
            end
        end
        if test $any = no
            for file in (_score_sde_paths $value)
                echo "$cut$file"
            end
        end
    end
end

function _score_sde_here
    string match -q -- '*main.py' (commandline -opc)
end
complete -c python -n _score_sde_here -f -a '(_score_sde_complete)'
complete -c python3 -n _score_sde_here -f -a '(_score_sde_complete)'
""".replace("VARIANTS_OF", VARIANTS.replace('"$1"', "$argv[1]"))

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
