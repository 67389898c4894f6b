import "@mantine/charts/styles.css";
import { BarChart } from "@mantine/charts";
import { VisuallyHidden } from "@mantine/core";
import { useReducedMotion } from "@mantine/hooks";
import { format } from "../format.ts";
import { coloured as most, colourOf } from "./series.ts";
import type { DaySum } from "./usage-sums.ts";
import classes from "./UsageChart.module.css";

const rest = "Other models";

interface UsageChartProps {
  days: DaySum[];
  /** Most used first. */
  models: string[];
}

/** Tokens by day, a colour a model. The same is in a table for those who do not see it. */
export default function UsageChart({ days, models }: UsageChartProps) {
  const isStill = useReducedMotion();
  const first = models.slice(0, most);
  const others = models.slice(most);
  // the names are others' words: a dot in one would be a path in the chart
  const data = days.map((sums) => {
    const row: Record<string, number | string> = { day: format.bucket(sums.day) };
    first.forEach((model, n) => (row[`m${n}`] = sums[model] ?? 0));
    if (others.length > 0) row["rest"] = others.reduce((sum, model) => sum + Number(sums[model] ?? 0), 0);
    return row;
  });
  const series = first.map((model, n) => ({ name: `m${n}`, label: model, color: colourOf(n) }));
  if (others.length > 0) series.push({ name: "rest", label: rest, color: colourOf(most) });
  const totals = days.map((sums) => ({
    day: sums.day,
    tokens: models.reduce((sum, model) => sum + Number(sums[model] ?? 0), 0),
  }));
  return (
    <>
      <div className={classes["chart"]} aria-hidden>
        <BarChart
          h={220}
          classNames={{ tooltip: classes["tooltip"]! }}
          data={data}
          dataKey="day"
          type="stacked"
          series={series}
          gridAxis="x"
          strokeDasharray="0"
          tickLine="none"
          maxBarWidth={28}
          valueFormatter={format.tokens}
          yAxisProps={{ tickFormatter: format.short, width: 44 }}
          xAxisProps={{ interval: "equidistantPreserveStart", minTickGap: 24 }}
          barProps={{ isAnimationActive: !isStill, animationDuration: 200 }}
          barChartProps={{ accessibilityLayer: false }}
        />
      </div>
      <VisuallyHidden component="div">
        <table>
          <caption>Tokens by day</caption>
          <thead>
            <tr>
              <th scope="col">Day</th>
              <th scope="col">Tokens</th>
            </tr>
          </thead>
          <tbody>
            {totals
              .filter(({ tokens }) => tokens > 0)
              .map(({ day, tokens }) => (
                <tr key={day}>
                  <th scope="row">{format.bucket(day)}</th>
                  <td>{format.tokens(tokens)}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </VisuallyHidden>
    </>
  );
}
