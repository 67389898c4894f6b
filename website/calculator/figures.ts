/** What the calculator and the guide know: what `npm run bench:scale` and `npm run bench` measured, as it is in docs/. */

/** docs/scale.json: one machine with many users and many entries, of several sizes, the largest first. */
export type Scales = readonly [Scale, ...Scale[]];

export interface Scale {
  /** Date, versions, hardware. */
  setting: string;
  users: number;
  entries: number;
  loadSeconds: number;
  /** Bytes of tables and indexes after the load, by name. */
  sizes: Record<string, number>;
  /** Bytes that one call adds to tables with their indexes, by way to spend and table; of any number of users. */
  callBytes: Record<string, Record<string, number>>;
  calls: Calls[];
  /** After the calls, by table. */
  vacuumSeconds: Record<string, number>;
  /** null: the disk had no room for it. */
  backUp: { bytes: number; seconds: number; restoreSeconds: number } | null;
  verify: InPieces;
  replay: InPieces;
  /** null: not tried with so many. */
  partitions: { number: number; copySeconds: number; compareSeconds: number; exchangeMs: number } | null;
}

/** One call by so many clients, for users drawn from the first so many. */
export interface Calls {
  partitions: number;
  what: string;
  users: number;
  clients: number;
  ms: number;
  perSecond: number;
  /** The server's, a call. */
  cpuUs: number;
  walBytes: number;
}

/** So many users were looked at, in pieces. */
export interface InPieces {
  users: number;
  seconds: number;
  longestSeconds: number;
}

/** Of docs/performance.json: by call and number of clients. */
export interface Performance {
  contenders: Record<string, Record<string, { cpuUs?: number; walBytes: number; entries: number }>>;
}
