/** The picture: throughput of each contender over that of the floor, by number of clients. */
import type { Figures } from "./compare.ts";
import { clientCounts } from "./measure.ts";

const shown = [
  "floor",
  "counter",
  "loop",
  "deduct",
  "deduct, keyed",
  "track",
  "hold + capture",
  "deduct + refund",
  "grant",
];
const colours = ["#9aa5b1", "#3b82c4", "#1b3a5c"];
const [left, top, rowHeight, barHeight, width] = [130, 56, 54, 14, 520];

/** An SVG of its own: nothing to load, legible in both light and dark pages. */
export function chart(table: Record<string, Record<number, Figures>>): string {
  const longest = Math.max(
    1.4,
    ...shown.flatMap((name) => clientCounts.map((clients) => table[name]![clients]!.ratio.median)),
  );
  const scale = width / longest;
  const height = top + shown.length * rowHeight + 30;
  const parts: string[] = [];
  for (let tick = 0; tick <= longest; tick += 0.25) {
    const x = left + tick * scale;
    parts.push(
      `<line x1="${at(x)}" y1="${top - 6}" x2="${at(x)}" y2="${height - 24}" stroke="${tick === 1 ? "#c2410c" : "#dde3ea"}"/>`,
      `<text x="${at(x)}" y="${height - 8}" text-anchor="middle" fill="#52606d">${tick}</text>`,
    );
  }
  for (const [row, name] of shown.entries()) {
    const y = top + row * rowHeight;
    parts.push(`<text x="${left - 10}" y="${y + 26}" text-anchor="end" fill="#1f2933">${name}</text>`);
    for (const [nth, clients] of clientCounts.entries()) {
      const { median, min, max } = table[name]![clients]!.ratio;
      const middle = y + nth * (barHeight + 1) + barHeight / 2;
      parts.push(
        `<rect x="${left}" y="${at(middle - barHeight / 2)}" width="${at(median * scale)}" height="${barHeight}" fill="${colours[nth]}"/>`,
        `<line x1="${at(left + min * scale)}" y1="${at(middle)}" x2="${at(left + max * scale)}" y2="${at(middle)}" stroke="#7b8794"/>`,
        `<text x="${at(left + Math.max(median, max) * scale + 5)}" y="${at(middle + 4)}" fill="#1f2933" font-size="11">${median.toFixed(2)}</text>`,
      );
    }
  }
  const legend = clientCounts.map(
    (clients, nth) =>
      `<rect x="${left + nth * 100}" y="30" width="11" height="11" fill="${colours[nth]}"/><text x="${left + nth * 100 + 16}" y="40" fill="#1f2933">${clients} client${clients === 1 ? "" : "s"}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 60} ${height}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="${left}" y="18" font-size="14" fill="#1f2933">Transactions a second over those of the floor: median, and the ends</text>
${[...legend, ...parts].join("\n")}
</svg>
`;
}

function at(position: number): string {
  return position.toFixed(1);
}
