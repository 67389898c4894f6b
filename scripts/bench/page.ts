/** What a run found, as the tables and the picture of docs/performance.md. */
import { ratioOf, type Figures, type Spread } from "./compare.ts";
import { contenders } from "./contenders.ts";
import {
  type Batch,
  clientCounts,
  count,
  type Flat,
  type Growth,
  type Layer,
  type Sweep,
} from "./measure.ts";

export interface Results {
  /** Date, versions, hardware, and how much was tried. */
  setting: string;
  contenders: Record<string, Record<number, Figures>>;
  hot: Record<string, Figures>;
  flat: Flat[];
  batch: Batch;
  sweep: Sweep;
  replay: { ratio: number; transactions: number };
  /** Of a run of its own; where says when, and on what. */
  growth?: Growth & { where: string };
  layers: Layer[];
}

/** A figure that a run is held to. */
interface Bar {
  what: string;
  wanted: string;
  found: Spread;
  holds: boolean;
}

/** All that the page says of a run, in Markdown. */
export function tables(results: Results): string {
  return [
    results.setting,
    "### The bars",
    barsTable(bars(results)),
    "### Everything against the floor",
    "![Throughput of each, over that of the floor](performance.svg)",
    contendersTable(results),
    "### Flat or not",
    "One client; latency over that of users with three grants in a small database where nobody has more, in the same round.",
    table(
      ["", "deduct", "balance"],
      results.flat.map(({ what, deduct, balance }) => [what, show(deduct), show(balance)]),
    ),
    "### In bulk",
    bulk(results),
    "### What each layer adds",
    "One caller, one balance after the other.",
    table(
      ["through", "median ms"],
      results.layers.map(({ what, ms }) => [what, ms.toFixed(2)]),
    ),
  ].join("\n\n");
}

function bars({ contenders: by, hot, flat, batch, sweep, replay, growth }: Results): Bar[] {
  const of = (name: string, clients: number) => by[name]![clients]!;
  const least = (what: string, bar: number, found: Spread): Bar => ({
    what,
    wanted: `≥ ${bar}`,
    found,
    holds: found.median >= bar,
  });
  const most = (what: string, bar: number, found: Spread): Bar => ({
    what,
    wanted: `≤ ${bar}`,
    found,
    holds: found.median <= bar,
  });
  const each = (wanted: readonly [number, number, number]) =>
    clientCounts.map((clients, nth) => [clients, wanted[nth]!] as const);
  const overFloor = (name: string, clients: number, bar: number) =>
    least(`${name} against the floor, ${clientsOf(clients)}`, bar, of(name, clients).ratio);
  return [
    ...each([0.62, 0.55, 0.42]).map(([clients, bar]) => overFloor("deduct", clients, bar)),
    ...each([1.05, 1.05, 1.05]).map(([clients, bar]) =>
      least(
        `deduct against the loop, ${clientsOf(clients)}`,
        bar,
        ratioOf(of("deduct", clients), of("loop", clients)),
      ),
    ),
    ...each([0.48, 0.38, 0.24]).map(([clients, bar]) => overFloor("track", clients, bar)),
    ...each([0.27, 0.2, 0.14]).map(([clients, bar]) => overFloor("hold + capture", clients, bar)),
    ...each([0.4, 0.4, 0.4]).map(([clients, bar]) =>
      least(
        `balance against one row by key, ${clientsOf(clients)}`,
        bar,
        ratioOf(of("balance", clients), of("select", clients)),
      ),
    ),
    least("one hot user, 32 clients, against updating one bare row", 0.7, hot["deduct"]!.ratio),
    ...flat.flatMap(({ what, deduct, balance }) => {
      const bar = what.includes("evenly") ? 1.4 : 1.2;
      return [
        most(`latency of deduct, ${what}`, bar, deduct),
        // of 10,000 open grants it lists a hundred
        ...(what.includes("open") ? [] : [most(`latency of balance, ${what}`, bar, balance)]),
      ];
    }),
    ...batch.over.map(({ clients, ratio }) =>
      least(`a batch of 1,000 against single calls, ${clientsOf(clients)}`, clients === 1 ? 8 : 2, ratio),
    ),
    most("sweep against writing the same rows", 3, sweep.ratio),
    most("history replay against writing the same rows", 3, just(replay.ratio)),
    ...(growth === undefined
      ? []
      : [
          least(
            `throughput after ${count(growth.deductions)} deductions`,
            0.9,
            just(growth.last / growth.first),
          ),
        ]),
  ];
}

function clientsOf(number: number): string {
  return `${number} client${number === 1 ? "" : "s"}`;
}

function just(value: number): Spread {
  return { median: value, min: value, max: value };
}

function barsTable(all: readonly Bar[]): string {
  return table(
    ["", "bar", "found", ""],
    all.map(({ what, wanted, found, holds }) => [what, wanted, show(found), holds ? "holds" : "**missed**"]),
  );
}

function contendersTable(results: Results): string {
  return table(
    [
      "",
      ...clientCounts.map(clientsOf),
      "transactions/s at 1, 8, 32",
      "CPU µs at 8",
      "WAL bytes",
      "what it is",
    ],
    contenders.map(({ name, what }) => {
      const figures = clientCounts.map((clients) => results.contenders[name]![clients]!);
      return [
        `**${name}**`,
        ...figures.map(({ ratio }) => show(ratio)),
        figures.map(({ tps }) => count(Math.round(tps))).join(", "),
        figures[1]!.cpuUs === undefined ? "?" : String(Math.round(figures[1]!.cpuUs)),
        String(Math.round(figures[0]!.walBytes)),
        what,
      ];
    }),
  );
}

function bulk({ batch, sweep, replay, growth }: Results): string {
  const lines = [
    `- A batch of 1,000 users: ${count(Math.round(batch.batch))} deductions a second; ${batch.over.map(({ clients, ratio }) => `${show(ratio)} times single calls of ${clients}`).join(", ")}.`,
    `- The sweep of ${count(sweep.accounts)} accounts: ${sweep.sweep.toFixed(1)} s; writing the same rows with INSERT … SELECT ${sweep.copy.toFixed(1)} s; ${show(sweep.ratio)} times.`,
    `- The history replay of ${count(replay.transactions)} transactions: ${replay.ratio.toFixed(2)} times writing them.`,
  ];
  if (growth !== undefined)
    lines.push(
      `- ${count(growth.deductions)} deductions by 8 clients without a pause: ${count(Math.round(growth.first))} a second in the first tenth, ${count(Math.round(growth.last))} in the last${cpu(growth)}. Each wrote ${Math.round(growth.wal)} bytes of WAL and ${Math.round(growth.ledger)} bytes of ledger with its indexes. ${Math.round(growth.hot * 100)} % of the updates of accounts and grants were HOT; those tables are ${growth.accounts.toFixed(1)} and ${growth.grants.toFixed(1)} times what they were. (A run of its own: ${growth.where}.)`,
    );
  return lines.join("\n");
}

function cpu({ firstCpuUs, lastCpuUs }: Growth): string {
  if (firstCpuUs === undefined || lastCpuUs === undefined) return "";
  return `, at ${Math.round(firstCpuUs)} and ${Math.round(lastCpuUs)} µs of CPU each`;
}

function show({ median, min, max }: Spread): string {
  const ends = min === max ? "" : ` [${min.toFixed(2)}–${max.toFixed(2)}]`;
  return `${median.toFixed(2)}${ends}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
