// Sorts the leaderboard, and draws the charts in the colours of the page.
const table = document.getElementById("leaderboard"), body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
for (const [index, head] of heads.entries()) {
  head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
    const key = row => row.cells[index].dataset.key;
    body.append(...[...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // missing values stay last
      return down * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
    }));
  });
}

const { charts, themes } = JSON.parse(document.getElementById("chart-data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 40rem)");
const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function draw() {
  for (const { name, data, layout } of charts) {
    const template = themes[dark.matches ? "dark" : "light"];
    Plotly.react(name, data, { ...layout, template, dragmode: narrow.matches ? false : "zoom" },
      { ...config, displayModeBar: narrow.matches ? false : "hover" });
  }
}

// The arrow keys step through the points of a focused chart. The line below the chart has the text of the point.
function steps(plot) {
  return plot.data.flatMap((trace, curveNumber) => (trace.text ?? []).flatMap(
    (text, pointNumber) => (text ? [{ curveNumber, pointNumber, text }] : [])));
}

function words(text) {  // the texts of charts are escaped
  return new DOMParser().parseFromString(text, "text/html").body.textContent;
}

for (const { name } of charts) {
  const plot = document.getElementById(name), line = document.getElementById(`${name}-point`);
  let place = -1;
  plot.addEventListener("keydown", event => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key], points = steps(plot);
    if (!move || !points.length) return;
    event.preventDefault();
    place = place < 0 && move < 0 ? points.length - 1 : (place + move + points.length) % points.length;
    const { curveNumber, pointNumber, text } = points[place];
    Plotly.Fx.hover(plot, [{ curveNumber, pointNumber }]);
    line.textContent = words(text);
  });
  plot.addEventListener("blur", () => { Plotly.Fx.unhover(plot); line.textContent = ""; });
}

draw();
for (const query of [dark, narrow]) query.addEventListener("change", draw);
