/** What `npm run bench:scale` found, and what the calculator makes of it, as tables of docs/guides/scale.md. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Calls, Performance, Scale, Scales } from "../../website/calculator/figures.ts";
import { apps } from "../../website/calculator/apps.ts";
import { needOf } from "../../website/calculator/model.ts";
import { bytes, duration, number, steps, wayNames } from "../../website/calculator/words.ts";
import { projectRoot } from "../project.ts";

/** The page with its tables made anew. */
export function withScaleTables(page: string, scales: Scales): string {
  const performance = JSON.parse(
    readFileSync(join(projectRoot, "docs/performance.json"), "utf8"),
  ) as Performance;
  const parts: Record<string, string> = {
    apps: appsTable(scales, performance),
    figures: scales.map(figures).join("\n\n"),
  };
  return Object.entries(parts).reduce((text, [name, its]) => {
    const marks = new RegExp(`(<!-- ${name} of npm run bench:scale -->\\n)[^]*?(<!-- end of ${name} -->)`);
    if (!marks.test(text)) throw new Error(`docs/guides/scale.md has no place for its ${name}`);
    return text.replace(marks, (_, begin: string, end: string) => `${begin}\n${its}\n\n${end}`);
  }, page);
}

function appsTable(scales: Scales, performance: Performance): string {
  return table(
    [
      "",
      "users, active",
      "spendings a day",
      "at the peak",
      "cores",
      "memory",
      "disk",
      "log a day",
      "machines",
      "next",
    ],
    Object.entries(apps).map(([name, load]) => {
      const need = needOf(load, scales, performance);
      return [
        name,
        `${number(load.users)}, ${number(load.activeUsers)}`,
        `${number(load.callsPerDay)}: ${wayNames[load.way]}`,
        `${number(need.peakPerSecond)}/s`,
        number(need.cores),
        bytes(need.memory),
        `${bytes(need.disk)} in ${load.years} years`,
        bytes(need.logPerDay),
        number(need.machines),
        steps(need.steps),
      ];
    }),
  );
}

function figures(scale: Scale): string {
  const { users, entries, sizes, calls, vacuumSeconds, backUp, verify, replay, partitions } = scale;
  const all = (each: { users: number; seconds: number }) => (each.seconds * users) / each.users;
  const kinds = [...new Set(calls.map(({ what }) => what))];
  const settings = [...new Set(calls.map(settingOf))];
  return [
    `### ${number(entries)} entries`,
    `${scale.setting}. ${number(users)} users with ${number(entries)} entries, written in ${duration(scale.loadSeconds)} with indexes and statistics.`,
    table(
      ["table or index", "size", "bytes an entry", "bytes a user"],
      Object.entries(sizes).map(([name, its]) => [
        `\`${name}\``,
        bytes(its),
        (its / entries).toFixed(1),
        number(its / users),
      ]),
    ),
    "What a call adds to the disk, in bytes with indexes. Measured on books of 1,000 users: it does not depend on how many there are.",
    callBytesTable(scale),
    "Each call: milliseconds with its commit, and microseconds of the server's CPU.",
    table(
      ["partitions", "users drawn from", "clients", ...kinds],
      settings.map((setting) => {
        const [number_, drawn, clients] = JSON.parse(setting) as [number, number, number];
        const its = calls.filter((one) => setting === settingOf(one));
        return [
          String(number_),
          number(drawn),
          String(clients),
          ...its.map(({ ms, cpuUs }) => `${ms.toFixed(2)} ms, ${cpuUs.toFixed(0)} µs`),
        ];
      }),
    ),
    table(
      ["", "took"],
      [
        ...Object.entries(vacuumSeconds).map(([name, seconds]) => [
          `vacuum of \`${name}\` after the calls`,
          duration(seconds),
        ]),
        [
          `verify, everybody (from ${number(verify.users)} users)`,
          `${duration(all(verify))}; longest piece ${duration(verify.longestSeconds)}`,
        ],
        [
          `replay, everybody (from ${number(replay.users)} users)`,
          `${duration(all(replay))}; longest piece ${duration(replay.longestSeconds)}`,
        ],
        ...(backUp === null
          ? [["back-up", "not measured with so many"]]
          : [
              [
                "back-up: a copy of the files while the server runs",
                `${duration(backUp.seconds)} for ${bytes(backUp.bytes)}`,
              ],
              ["restore: from the start of the copy to its first answer", duration(backUp.restoreSeconds)],
            ]),
        ...(partitions === null
          ? [["the change to more partitions", "not measured with so many"]]
          : [
              [`into ${partitions.number} partitions: copied`, duration(partitions.copySeconds)],
              ["compared", duration(partitions.compareSeconds)],
              ["exchanged, while nobody could write", duration(partitions.exchangeMs / 1000)],
            ]),
      ],
    ),
  ].join("\n\n");
}

function callBytesTable({ callBytes }: Scale): string {
  const tables = [...new Set(Object.values(callBytes).flatMap((its) => Object.keys(its)))];
  return table(
    ["call", ...tables.map((name) => `\`${name}\``), "together"],
    Object.entries(callBytes).map(([call, its]) => [
      call,
      ...tables.map((name) => number(its[name] ?? 0)),
      number(Object.values(its).reduce((sum, one) => sum + one, 0)),
    ]),
  );
}

function settingOf({ partitions, users, clients }: Calls): string {
  return JSON.stringify([partitions, users, clients]);
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
