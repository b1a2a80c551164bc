"""The style sheet of a report: light and dark, for screens from phones to desktops."""

STYLE = """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --ink: #1b1f24; --soft: #5b6470; --line: #dfe3e8;
  --c0: #1f5fd0; --c1: #c8500a; --c2: #0b7a6b; --c3: #8a3ab9; --warn: #8a4b00; --warned: #fff4e2; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --card: #1d2126; --ink: #e6e9ed; --soft: #9aa4b0; --line: #333a43;
    --c0: #74a7ff; --c1: #ff9a57; --c2: #4fd1b8; --c3: #cf9bf2; --warn: #ffcf8a; --warned: #33291a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 32px 0 10px; }
h3 { font-size: .95rem; margin: 18px 0 6px; }
p { margin: 4px 0 12px; } .soft, small { color: var(--soft); font-weight: 400; }
.tiles, .grid-of { display: grid; gap: 12px; padding: 0; margin: 0; list-style: none; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin-top: 16px; }
.grid-of { grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); align-items: start; }
.grid-of.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 600px), 1fr)); }
.grid-of.small { grid-template-columns: repeat(auto-fill, minmax(min(46%, 260px), 1fr)); }
.tiles li, figure, .wide, details, .bar { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tiles li { padding: 10px 14px; } .tiles b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: .85rem; }
figure { margin: 0; padding: 10px 12px; min-width: 0; }
figcaption { font-weight: 600; font-size: .92rem; overflow-wrap: anywhere; }
figure img { display: block; width: 100%; height: auto; border-radius: 4px; margin-bottom: 6px; }
figure img + figcaption { font-weight: 400; font-size: .85rem; }
svg { display: block; width: 100%; height: auto; margin-top: 4px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg .axis { text-anchor: end; }
.grid { stroke: var(--line); stroke-width: 1; }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
polyline.c0 { stroke: var(--c0); } polyline.c1 { stroke: var(--c1); }
polyline.c2 { stroke: var(--c2); } polyline.c3 { stroke: var(--c3); }
circle.c0 { fill: var(--c0); } circle.c1 { fill: var(--c1); } circle.c2 { fill: var(--c2); } circle.c3 { fill: var(--c3); }
i.c0 { background: var(--c0); } i.c1 { background: var(--c1); } i.c2 { background: var(--c2); } i.c3 { background: var(--c3); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; list-style: none; padding: 0; margin: 4px 0 0; font-size: .85rem; }
.legend i { display: inline-block; width: 12px; height: 3px; border-radius: 2px; margin-right: 6px; vertical-align: middle; }
.legend b { font-variant-numeric: tabular-nums; }
.bar { padding: 10px 12px; margin-top: 12px; } .bar div { display: flex; height: 14px; border-radius: 4px; overflow: hidden; margin: 6px 0; }
.bar div i { display: block; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 12px; border-top: 1px solid var(--line); white-space: nowrap; }
thead th, tr:first-child > * { border-top: 0; } thead th { color: var(--soft); font-weight: 600; }
tbody tr:first-child td { border-top: 1px solid var(--line); }
.pairs th { color: var(--soft); font-weight: 400; width: 1%; } .pairs td { white-space: normal; overflow-wrap: anywhere; }
.pairs tr:first-child td { border-top: 0; }
details { margin-top: 12px; padding: 8px 12px; } summary { cursor: pointer; } details .wide { border: 0; }
.notes { background: var(--warned); color: var(--warn); border-radius: 8px; margin: 16px 0 0; padding: 10px 14px 10px 32px; overflow-wrap: anywhere; }
@media (max-width: 480px) { main { padding: 14px 10px 36px; } h1 { font-size: 1.3rem; } th, td { padding: 6px 8px; } }
@media print { body { background: none; } figure, section { break-inside: avoid; } }
"""
