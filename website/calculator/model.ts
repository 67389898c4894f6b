/**
 * From what an app does in a day to the machine that its books need: what was measured, times how often, with the
 * assumptions below, which are as few as they can be and are said to the reader.
 */
import type { Performance, Scale, Scales } from "./figures.ts";

/** How tokens are spent; the names of docs/performance.json, without a key. */
export const ways = ["deduct", "track", "hold + capture"] as const;
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
  /** Each spending has an idempotency key. */
  keyed: boolean;
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
  /** Largest machine that is counted on, and the bytes of its disk. */
  mostCores: 64,
  mostDisk: 16e12,
  /** Bytes of a ledger that is better off in partitions. */
  onePartition: 100e9,
  /** Pages of 8 kB that one user's spending touches which no other user's does: account, grant, and the leaves of five indexes. */
  pagesPerUser: 7,
  /** Memory for connections, plans and everything else, in bytes. */
  otherMemory: 1e9,
  /** Of the memory, what holds pages. */
  cacheShare: 0.75,
  /** Free on the disk, for what vacuum leaves, the log and a rebuilt index. In every figure of the disk. */
  spareDisk: 0.3,
} as const;

export interface Need {
  peakPerSecond: number;
  /** Microseconds of the server's CPU for one spending with its reads. */
  cpuUs: number;
  /** Cores at the busiest hour, of all machines. */
  cores: number;
  /** As many as their cores and their disks make necessary; each has a part of the users. */
  machines: number;
  /** Bytes of memory for which the active users' pages are never read from the disk, of all machines. */
  memory: number;
  entriesPerDay: number;
  /** Bytes on the disk that a day adds, and what is there after `years`. */
  diskPerDay: number;
  disk: number;
  /** Bytes of write-ahead log a day: what a replica receives and a point-in-time back-up keeps. */
  logPerDay: number;
  /** Months until a terabyte of disk is full; Infinity when nothing is spent. */
  terabyteAfter: number;
  /** Seconds that the measured machine's disk takes to copy all of it; NaN where that was not measured. */
  backUpSeconds: number;
  /** Seconds to verify all books at the end of `years`, with one process. */
  verifySeconds: number;
  /** The steps that are due within `years`, in the order of the guide. */
  steps: Due[];
}

export type Step = "partitions" | "replica" | "projects";

export interface Due {
  step: Step;
  /** Months until it is due; 0: from the start. */
  after: number;
}

/** @throws RangeError when a number is negative or none */
export function needOf(load: Load, scales: Scales, performance: Performance): Need {
  const [scale] = scales;
  const backUp = scales.find((one) => one.backUp !== null)?.backUp;
  const { users, activeUsers, callsPerDay, way, keyed, readsPerCall, peak, years } = load;
  for (const [name, value] of Object.entries(load))
    if (typeof value === "number" && !(value >= 0 && value < Infinity))
      throw new RangeError(`${name} is no number`);
  const call = costOf(way, keyed, scale, performance);
  const readUs = readsPerCall * costOf("balance", false, scale, performance).cpuUs;
  const cpuUs = call.cpuUs + readUs;
  const peakPerSecond = (callsPerDay / 86_400) * peak;
  const cores = coresFor((peakPerSecond * cpuUs) / 1e6 / assumptions.busy);

  const spare = 1 + assumptions.spareDisk;
  const perCall = scale.callBytes[keyed ? `${way}, keyed` : way]!;
  const perMonth = (bytes: number) => (callsPerDay * bytes * spare * 365) / 12;
  const growth = perMonth(Object.values(perCall).reduce((bytes, its) => bytes + its, 0));
  const accounts = users * perUser(scale) * spare;
  const months = years * 12;
  const disk = accounts + growth * months;
  const monthsUntil = (bytes: number) => (bytes <= accounts ? 0 : (bytes - accounts) / growth);
  const machines = Math.ceil(Math.max(cores / assumptions.mostCores, disk / assumptions.mostDisk));
  const pages = Math.min(activeUsers, users) * assumptions.pagesPerUser * 8192;
  const memory = Math.min(pages, disk / spare) / assumptions.cacheShare + assumptions.otherMemory;
  const entriesPerDay = callsPerDay * performance.contenders[way]!["8"]!.entries;
  const due: Due[] = [
    { step: "partitions", after: assumptions.onePartition / perMonth(perCall["token_transactions"]!) },
    { step: "replica", after: cores > 8 && readUs > cpuUs / 3 ? 0 : Infinity },
    { step: "projects", after: cores > assumptions.mostCores ? 0 : monthsUntil(assumptions.mostDisk) },
  ];
  return {
    peakPerSecond,
    cpuUs,
    cores,
    machines,
    memory,
    entriesPerDay,
    diskPerDay: (growth * 12) / 365,
    disk,
    logPerDay: callsPerDay * call.walBytes,
    terabyteAfter: monthsUntil(1e12),
    backUpSeconds: backUp == null ? NaN : (disk * backUp.seconds) / backUp.bytes,
    verifySeconds: entriesPerDay * 365 * years * secondsPerEntry(scale),
    steps: due.filter(({ after }) => after < months),
  };
}

interface Cost {
  cpuUs: number;
  walBytes: number;
}

/**
 * One call by eight callers: the larger of what was measured with few users, and with all users of the largest run,
 * whose pages are mostly written for the first time since a checkpoint, so whole into the log. What was not measured
 * with many users has so many times the log that a deduction has there. What was not measured with a key costs as much
 * more with one as a deduction does.
 */
function costOf(name: string, keyed: boolean, scale: Scale, performance: Performance): Cost {
  const few = (what: string) => performance.contenders[what]?.["8"];
  const many = (what: string) =>
    scale.calls.find(
      (one) => one.what === what && one.users === scale.users && one.clients === 8 && one.partitions === 1,
    );
  const what = keyed ? `${name}, keyed` : name;
  const [less, more] = [few(what), many(what)];
  if (less === undefined && more === undefined) {
    if (!keyed || name === "deduct") throw new Error(`docs/ have no figures of ${what}`);
    const [its, one, oneKeyed] = [
      costOf(name, false, scale, performance),
      costOf("deduct", false, scale, performance),
      costOf("deduct", true, scale, performance),
    ];
    return {
      cpuUs: its.cpuUs + oneKeyed.cpuUs - one.cpuUs,
      walBytes: its.walBytes + oneKeyed.walBytes - one.walBytes,
    };
  }
  const times = many("deduct")!.walBytes / few("deduct")!.walBytes;
  return {
    cpuUs: Math.max(less?.cpuUs ?? 0, more?.cpuUs ?? 0),
    walBytes: Math.max(less?.walBytes ?? 0, more?.walBytes ?? less!.walBytes * times),
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

/** Bytes of a user's account and grants. */
function perUser({ sizes, users }: Scale): number {
  const names = Object.keys(sizes).filter((name) => /token_(accounts|balances)/.test(name));
  return names.reduce((bytes, name) => bytes + sizes[name]!, 0) / users;
}
