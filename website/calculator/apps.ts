import type { Load } from "./model.ts";

/** Apps of four sizes, as the guide shows them; the calculator begins with the second. */
export const apps = {
  "a new app": {
    users: 5_000,
    activeUsers: 500,
    callsPerDay: 10_000,
    way: "track",
    keyed: true,
    readsPerCall: 2,
    peak: 5,
    years: 3,
  },
  "a known one": {
    users: 200_000,
    activeUsers: 20_000,
    callsPerDay: 1_000_000,
    way: "track",
    keyed: true,
    readsPerCall: 2,
    peak: 5,
    years: 3,
  },
  "a large one": {
    users: 2_000_000,
    activeUsers: 200_000,
    callsPerDay: 20_000_000,
    way: "hold + capture",
    keyed: true,
    readsPerCall: 2,
    peak: 4,
    years: 2,
  },
  "one of the largest": {
    users: 50_000_000,
    activeUsers: 5_000_000,
    callsPerDay: 500_000_000,
    way: "hold + capture",
    keyed: true,
    readsPerCall: 2,
    peak: 3,
    years: 2,
  },
} satisfies Record<string, Load>;
