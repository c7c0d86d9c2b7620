// A small line chart of the last minute, in SVG. Its colours come from the stylesheet.

const SVG = "http://www.w3.org/2000/svg";
const LENGTH = 60; // samples
const WIDTH = 300;
const HEIGHT = 100;

export class Chart {
  // One line for each name; `max` is the top of the scale, or null: the highest value shown.
  constructor(svg, names, max = null) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    this.max = max;
    const draw = (name) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", name);
      svg.append(path);
      return path;
    };
    draw("grid").setAttribute("d", [2, 34, 66].map((y) => `M0 ${y}H${WIDTH}`).join(""));
    this.lines = names.map((name) => {
      return { area: draw(`area ${name}`), line: draw(`line ${name}`), values: [] };
    });
  }

  push(...values) {
    this.lines.forEach((line, index) => {
      line.values.push(values[index]);
      line.values.splice(0, line.values.length - LENGTH);
    });
    const highest = Math.max(...this.lines.flatMap((line) => line.values));
    const scale = (HEIGHT - 4) / ((this.max ?? highest * 1.15) || 1);
    for (const { area, line, values } of this.lines) {
      const points = values.map((value, index) => {
        const x = WIDTH - ((values.length - 1 - index) * WIDTH) / (LENGTH - 1);
        return `${x.toFixed(1)} ${(HEIGHT - 2 - value * scale).toFixed(1)}`;
      });
      const start = points[0].split(" ")[0];
      line.setAttribute("d", `M${points.join("L")}`);
      area.setAttribute("d", `M${start} ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z`);
    }
  }
}
