import type { SimulationResult } from "../result.ts";
import { type Chart, escapeHtml, type View } from "./chart.ts";
import { chartsOf, firstView } from "./charts.ts";
import { init } from "./echarts.ts";

/**
 * In the reader's browser: draws the page's pictures again with the same code, as wide as there is room, with zoom
 * and tooltips, for the strategy and the day that the reader chooses.
 */
const data = document.getElementById("result") as HTMLScriptElement;
const result = JSON.parse(data.text) as SimulationResult;
let view: View = firstView(result, 0);

interface Drawn {
  chart: Chart;
  figure: HTMLElement;
  room: HTMLElement;
  canvas: ReturnType<typeof init>;
}

const drawn: Drawn[] = chartsOf(result).map((chart) => {
  const figure = document.getElementById(chart.id) as HTMLElement;
  const room = figure.querySelector<HTMLElement>(".chart") as HTMLElement;
  const widthPx = widthOf(room);
  room.replaceChildren();
  room.classList.add("live");
  const canvas = init(room, null, {
    renderer: "svg",
    width: widthPx,
    height: chart.heightPx({ ...view, widthPx }),
  });
  return { chart, figure, room, canvas };
});

function widthOf(room: HTMLElement): number {
  return Math.max(280, Math.floor(room.clientWidth));
}

/** Draws a chart again; what it was zoomed to stays unless other vehicles or another width make it another chart. */
function draw({ chart, figure, room, canvas }: Drawn, widthPx = widthOf(room)): void {
  const seen = { ...view, widthPx };
  canvas.resize({ width: widthPx, height: chart.heightPx(seen) });
  canvas.setOption(chart.option(seen), { notMerge: true });
  const summary = chart.summary(seen);
  room.setAttribute("aria-label", summary);
  (figure.querySelector(".summary") as HTMLElement).textContent = summary;
  const [head, ...rows] = chart.table(seen);
  const line = (cells: string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  (figure.querySelector("table") as HTMLElement).innerHTML =
    `<thead>${line(head, "th")}</thead><tbody>${rows.map((row) => line(row, "td")).join("")}</tbody>`;
}

function drawAll(widthPx?: number): void {
  for (const one of drawn) draw(one, widthPx);
}

function onChoice(id: "strategy" | "day"): void {
  document.getElementById(id)?.addEventListener("change", (event) => {
    view = { ...view, [id]: Number((event.target as HTMLSelectElement).value) };
    drawAll();
  });
}

document.documentElement.classList.add("scripted");
drawAll();
onChoice("strategy");
onChoice("day");
document.getElementById("reset")?.addEventListener("click", () => drawAll());

let lastWidth = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === lastWidth) return;
  lastWidth = document.body.clientWidth;
  drawAll();
}).observe(document.body);

/** The width of A4 less its margins. */
const PAPER_PX = 680;
window.addEventListener("beforeprint", () => drawAll(PAPER_PX));
window.addEventListener("afterprint", () => drawAll());
