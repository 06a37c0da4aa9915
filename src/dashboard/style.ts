/** The style sheet of the dashboard. Colours have a contrast of 4.5:1 and more, in both schemes. */
export const STYLE: string = `
:root{color-scheme:light dark;--back:#fff;--text:#1a1d21;--faint:#59616b;--line:#d5dae0;--soft:#f3f5f7;--link:#0b5cad;--good:#146c2e;--review:#8a5300;--bad:#b3261e;--field:#6b7480}
@media(prefers-color-scheme:dark){:root{--back:#14171a;--text:#e8eaed;--faint:#a4adb8;--line:#363c43;--soft:#1e2327;--link:#8ab8f2;--good:#7ad08f;--review:#f0b65c;--bad:#ff9a90;--field:#8d97a3}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-999px}
.skip:focus{left:8px;top:8px;background:var(--back);padding:8px}
header{display:flex;flex-wrap:wrap;gap:8px 20px;align-items:center;padding:10px 20px;border-bottom:1px solid var(--line);background:var(--soft)}
header strong{font-size:17px}
header .who{margin-left:auto;color:var(--faint)}
nav ul{display:flex;flex-wrap:wrap;gap:4px;list-style:none;margin:0;padding:8px 16px;border-bottom:1px solid var(--line)}
nav a{display:block;padding:5px 10px;border-radius:6px;text-decoration:none}
nav a:hover{text-decoration:underline}
nav a[aria-current]{background:var(--link);color:var(--back)}
main{padding:12px 20px 48px;max-width:1300px}
main:focus{outline:none}
h1{font-size:22px;margin:8px 0}
h2{font-size:17px;margin:24px 0 6px}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:12px 0;padding:0;list-style:none}
.cards li{border:1px solid var(--line);border-radius:8px;padding:10px 14px;min-width:150px}
.cards b{display:block;font-size:20px}
svg{display:block;width:300px;max-width:100%;height:80px;margin:4px 0;border-bottom:1px solid var(--field)}
.line{fill:none;stroke:var(--link);stroke-width:2;vector-effect:non-scaling-stroke}
.mark{fill:none;stroke:var(--review);stroke-width:1;stroke-dasharray:4 4;vector-effect:non-scaling-stroke}
.graph small{display:block;max-width:300px}
meter{width:100%;min-width:130px;height:12px}
.wrap{overflow-x:auto;margin:8px 0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
thead th{color:var(--faint);font-weight:600;white-space:nowrap}
tbody th{font-weight:600}
caption{text-align:left;color:var(--faint);padding:4px 0}
.good{color:var(--good)}.review,.warn{color:var(--review)}.bad,.critical{color:var(--bad)}.faint{color:var(--faint)}
.attention{padding-left:20px}
button,input,select{font:inherit;color:inherit;background:var(--back);border:1px solid var(--field);border-radius:6px;padding:5px 10px;min-height:32px}
button{cursor:pointer;background:var(--soft)}
button:hover{border-color:var(--link)}
button.danger{color:var(--bad);border-color:var(--bad)}
button[aria-pressed=true]{background:var(--link);color:var(--back)}
td button{margin:0 4px 4px 0;padding:2px 8px}
form{display:flex;flex-wrap:wrap;gap:8px 12px;align-items:end;margin:10px 0}
label{display:flex;flex-direction:column;gap:2px;color:var(--faint);font-size:13px}
label input{min-width:260px;max-width:100%}
dialog{border:1px solid var(--field);border-radius:10px;background:var(--back);color:var(--text);width:min(640px,calc(100vw - 32px))}
dialog::backdrop{background:#000a}
dialog h2{margin-top:0}
dialog label input{width:100%}
.plan{background:var(--soft);padding:10px;white-space:pre-wrap;overflow-wrap:anywhere;border-radius:6px;margin:8px 0;font:13px/1.5 ui-monospace,monospace}
.plan p{margin:0}
.row{display:flex;flex-wrap:wrap;gap:8px;align-items:center}
.notice{border:1px solid var(--line);border-left:4px solid var(--review);padding:8px 12px;margin:10px 0;background:var(--soft)}
noscript{display:block;padding:20px}
`
