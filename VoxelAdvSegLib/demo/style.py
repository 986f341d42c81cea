"""The page's style: light, readable on a phone, with nothing from elsewhere."""

CSS = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1d1d1d; font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; padding-top: 1rem; border-top: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 46rem; }
.soft { color: #555; }
.answer { border-left: 6px solid #4a4a4a; background: #f4f4f2; padding: .8rem 1rem; margin: 1.2rem 0; }
.answer b { font-size: 1.25rem; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.total td { font-weight: 600; border-top: 2px solid #999; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 1rem 1.4rem; }
.pairs { max-width: 34rem; }
.slices { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .88rem; color: #333; margin-bottom: .2rem; }
figure svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
svg.slice { background: #000; border-radius: 3px; }
svg.slice .outline { stroke-width: 2px; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
svg.slice .side { fill: #fff; font-size: 13px; paint-order: stroke; stroke: #000; stroke-width: 3px; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .92rem; margin: .5rem 0 .8rem; }
.key span { display: inline-flex; align-items: center; gap: .4rem; }
.key i { width: 1.1em; height: 1.1em; border-radius: 3px; }
.key svg { width: 34px; height: 12px; }
.bar { max-width: 26rem; font-size: .88rem; margin: .6rem 0 1rem; }
.bar div { height: 14px; border: 1px solid #bbb; border-radius: 3px; }
.bar p { display: flex; justify-content: space-between; gap: 1rem; margin: .15rem 0 0; }
code { background: #f2f2f2; padding: .1em .3em; border-radius: 3px; font-size: .9em; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  .slices { grid-template-columns: repeat(2, 1fr); }
  h1 { font-size: 1.4rem; }
  th, td { padding: .3rem .45rem; font-size: .9rem; }
}
"""
