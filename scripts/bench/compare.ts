/** Runs contenders in turns, round after round, so that a busy moment of the machine does not fall on one alone. */
import type { PostgresServer } from "local-platform/postgres/server";
import type { Contender } from "./contenders.ts";
import { pgbench, type Ran } from "./pgbench.ts";

/** Of one contender with one number of clients. */
export interface Figures {
  tps: number;
  cpuUs: number | undefined;
  /** CPU time over that of the base in the same round; undefined where it is not known. */
  cpuRatio: Spread | undefined;
  walBytes: number;
  entries: number;
  /** Transactions a second of each round. */
  rounds: readonly number[];
  /** Throughput over that of the base in the same round: the median of the rounds, and their ends. */
  ratio: Spread;
}

/** Throughput of the one over that of the other, round by round. */
export function ratioOf(one: Figures, other: Figures): Spread {
  return spread(one.rounds.map((tps, round) => tps / other.rounds[round]!));
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

export interface Arm extends Contender {
  users: [first: number, last: number];
  database?: string;
}

export interface Comparison {
  arms: readonly Arm[];
  /** The name of the arm that the others are measured against. */
  base: string;
  clients: number;
  rounds: number;
  seconds: number;
  /** Told before each run. */
  onRun: (name: string) => void;
}

/** @returns the figures by name. */
export async function compare(
  server: PostgresServer,
  { arms, base, clients, rounds, seconds, onRun }: Comparison,
): Promise<Map<string, Figures>> {
  const runs = new Map<string, Ran[]>(arms.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // every other round backwards: who comes first finds another machine than who comes last
    for (const { name, script, users, database, entries } of round % 2 === 0 ? arms : arms.toReversed()) {
      onRun(name);
      const ran = await pgbench(server, {
        script,
        clients,
        seconds,
        users,
        ...(database !== undefined && { database }),
      });
      if (Math.abs(ran.entries - entries) > 0.01)
        throw new Error(`${name} made ${ran.entries} ledger entries a transaction, not ${entries}`);
      runs.get(name)!.push(ran);
    }
  }
  const bases = runs.get(base)!;
  return new Map(
    [...runs].map(([name, ran]) => {
      const of = (pick: (one: Ran) => number) => spread(ran.map(pick)).median;
      const cpu = ran.flatMap(({ cpuUs }) => cpuUs ?? []);
      return [
        name,
        {
          tps: of(({ tps }) => tps),
          cpuUs: cpu.length === 0 ? undefined : spread(cpu).median,
          cpuRatio: cpu.length === 0 ? undefined : spread(cpu.map((us, round) => us / bases[round]!.cpuUs!)),
          walBytes: of(({ walBytes }) => walBytes),
          entries: of(({ entries }) => entries),
          rounds: ran.map(({ tps }) => tps),
          ratio: spread(ran.map(({ tps }, round) => tps / bases[round]!.tps)),
        },
      ];
    }),
  );
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return {
    median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2,
    min: sorted[0]!,
    max: sorted.at(-1)!,
  };
}
