/**
 * From what an app does in a day to the machine that its books need: what was measured, times how often, with the
 * assumptions below, which are as few as they can be and are said to the reader.
 */
import type { Performance, Scale, Scales } from "./figures.ts";

/** How tokens are spent; the names of docs/performance.json. */
export const ways = ["deduct", "deduct, keyed", "track", "hold + capture"] as const;
export type Way = (typeof ways)[number];

/** What an app does. */
export interface Load {
  /** Users that have books. */
  users: number;
  /** Users who do something in the busiest hours. */
  activeUsers: number;
  /** Spendings a day, of all users. */
  callsPerDay: number;
  way: Way;
  /** How many times a balance is read for one spending. */
  readsPerCall: number;
  /** How much busier the busiest hour is than the mean. */
  peak: number;
  /** How long entries are kept. */
  years: number;
}

export const assumptions = {
  /** At the busiest time half of the cores are free: queues grow fast beyond, and vacuum and back-ups want some. */
  busy: 0.5,
  /** A core more does so much of what a core does. Two were measured; a commit of many at once costs less, locks more. */
  perCoreMore: 0.8,
  /** Largest machine that is counted on. */
  mostCores: 64,
  /** Pages of 8 kB that one user's spending touches which no other user's does: account, grant, and the leaves of five indexes. */
  pagesPerUser: 7,
  /** Memory for connections, plans and everything else, in bytes. */
  otherMemory: 1e9,
  /** Of the memory, what holds pages. */
  cacheShare: 0.75,
  /** Free on the disk, for what vacuum leaves, the log and a rebuilt index. */
  spareDisk: 0.3,
} as const;

export interface Need {
  peakPerSecond: number;
  /** Microseconds of the server's CPU for one spending with its reads. */
  cpuUs: number;
  /** Cores at the busiest hour; more than `assumptions.mostCores`: one machine does not do. */
  cores: number;
  /** Bytes of memory for which the active users' pages are never read from the disk. */
  memory: number;
  entriesPerDay: number;
  /** Bytes on the disk that a day adds, and what is there after `years`. */
  diskPerDay: number;
  disk: number;
  /** Bytes of write-ahead log a day: what a replica receives and a point-in-time back-up keeps. */
  logPerDay: number;
  yearsPerTerabyte: number;
  /** Seconds that the measured machine's disk takes to copy all of it; NaN where that was not measured. */
  backUpSeconds: number;
  /** Seconds to verify all books at the end of `years`, with one process. */
  verifySeconds: number;
  /** The steps that are due, in the order of the guide. */
  steps: Step[];
}

export type Step = "partitions" | "replica" | "projects";

/** @throws RangeError when a number is negative or none */
export function needOf(load: Load, scales: Scales, performance: Performance): Need {
  const [scale] = scales;
  const backUp = scales.find((one) => one.backUp !== null)?.backUp;
  const { users, activeUsers, callsPerDay, way, readsPerCall, peak, years } = load;
  for (const [name, value] of Object.entries(load))
    if (typeof value === "number" && !(value >= 0 && value < Infinity))
      throw new RangeError(`${name} is no number`);
  const call = performance.contenders[way]!["8"]!;
  const read = performance.contenders["balance"]!["8"]!;
  const readUs = readsPerCall * (read.cpuUs ?? NaN);
  const cpuUs = (call.cpuUs ?? NaN) + readUs;
  const peakPerSecond = (callsPerDay / 86_400) * peak;
  const cores = coresFor((peakPerSecond * cpuUs) / 1e6 / assumptions.busy);

  const perEntry = sum(scale, /token_transactions/) / scale.entries;
  const perUser = sum(scale, /token_(accounts|balances)/) / scale.users;
  const uses = way === "track" || way === "hold + capture" ? scale.rowBytes["token_usage"]! : 0;
  const diskPerDay = callsPerDay * (call.entries * perEntry + uses);
  const books = diskPerDay * 365 * years + users * perUser;
  const disk = books * (1 + assumptions.spareDisk);
  const pages = Math.min(activeUsers, users) * assumptions.pagesPerUser * 8192;
  const memory = Math.min(pages, books) / assumptions.cacheShare + assumptions.otherMemory;
  const entries = callsPerDay * 365 * years * call.entries;
  const ledger = entries * perEntry;
  return {
    peakPerSecond,
    cpuUs,
    cores,
    memory,
    entriesPerDay: callsPerDay * call.entries,
    diskPerDay,
    disk,
    logPerDay: callsPerDay * call.walBytes,
    yearsPerTerabyte: 1e12 / (diskPerDay * 365),
    backUpSeconds: backUp == null ? NaN : (books * backUp.seconds) / backUp.bytes,
    verifySeconds: entries * secondsPerEntry(scale),
    steps: [
      ...(ledger > 100e9 ? (["partitions"] as const) : []),
      ...(cores > 8 && readUs > cpuUs / 3 ? (["replica"] as const) : []),
      ...(cores > assumptions.mostCores || disk > 16e12 ? (["projects"] as const) : []),
    ],
  };
}

function secondsPerEntry({ verify, users, entries }: Scale): number {
  return verify.seconds / (verify.users * (entries / users));
}

/** Cores of which the first two do what was measured, and each more `perCoreMore` of it. */
function coresFor(busyCores: number): number {
  if (busyCores <= 2) return Math.max(1, Math.ceil(busyCores));
  return 2 + Math.ceil((busyCores - 2) / assumptions.perCoreMore);
}

function sum({ sizes }: Scale, names: RegExp): number {
  return Object.entries(sizes).reduce((bytes, [name, its]) => (names.test(name) ? bytes + its : bytes), 0);
}
