/** What the page looks like: light, dark as the reader's system says, and on paper. */
export const LIGHT = {
  ink: "#1b242c",
  muted: "#5b6874",
  line: "#dde3e8",
  paper: "#ffffff",
  ground: "#f4f6f8",
};
const DARK = { ink: "#e8edf1", muted: "#9fb0bd", line: "#35424d", paper: "#182129", ground: "#10171d" };

const variables = (theme: typeof LIGHT) =>
  Object.entries(theme)
    .map(([name, value]) => `--${name}:${value};`)
    .join("");

export const STYLE = `
:root{color-scheme:light dark;${variables(LIGHT)}}
@media screen and (prefers-color-scheme:dark){:root{${variables(DARK)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main,header,footer{max-width:1240px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px}
h2{font-size:19px;margin:0 0 2px}
header+main>section:first-child{margin-top:18px}
p{margin:0}
.muted,figcaption,footer{color:var(--muted)}
footer{padding:20px;font-size:13px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin:10px 0 18px}
.card,figure,.panel{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:14px 18px}
.card b{display:block;font-size:26px;line-height:1.25;font-variant-numeric:tabular-nums}
.card span{display:block;color:var(--muted);font-size:13px}
figure,.panel{margin:0 0 18px}
figcaption{font-size:13.5px;max-width:86ch;margin-bottom:10px}
.chart{overflow-x:auto}
.chart>svg{display:block;min-width:680px;max-width:100%;height:auto}
.chart.live{overflow:visible}
.chart.live svg{min-width:0;max-width:none}
.summary{font-size:13.5px;margin-top:6px;max-width:100ch}
details{margin-top:8px;font-size:13.5px}
summary{cursor:pointer;color:var(--muted)}
.scroll{overflow-x:auto;max-height:420px;overflow-y:auto}
.all{max-height:none}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13.5px}
th,td{padding:4px 8px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
thead th{white-space:normal;vertical-align:bottom;min-width:76px;color:var(--muted);font-weight:600;position:sticky;top:0;background:var(--paper)}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--paper)}
thead .shown{box-shadow:inset 0 -3px #0072b2;color:var(--ink)}
tbody th{font-weight:400}
td.shown{font-weight:600}
.bad{color:#d55e00;font-weight:600}
.controls{display:none;gap:16px;flex-wrap:wrap;position:sticky;top:0;z-index:5;background:var(--ground);padding:10px 0;margin-bottom:8px}
.scripted .controls{display:flex}
.controls label{display:flex;gap:8px;align-items:center;font-size:14px}
select,button{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:4px 8px;max-width:60vw}
:focus-visible{outline:2px solid #0072b2;outline-offset:2px}
.tip-head{font-weight:600;margin-bottom:2px}
.tip-row b{float:right;margin-left:20px;font-variant-numeric:tabular-nums}
@media (max-width:600px){.controls{position:static;gap:8px}main,header,footer{padding-left:12px;padding-right:12px}.card,figure,.panel{padding:12px}.card b{font-size:21px}.cards{grid-template-columns:1fr 1fr}h1{font-size:22px}}
@media print{
body{background:#fff;font-size:12px}
.controls,.scripted .controls,details:not([open]){display:none}
figure,.panel,.card{break-inside:avoid;border-color:#ccc}
.chart>svg{min-width:0}
.scroll{max-height:none;overflow:visible}
th,td{padding:3px 5px;font-size:10px;white-space:normal}
}
`;
