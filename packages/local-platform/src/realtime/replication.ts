import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { LogicalReplicationService, PgoutputPlugin } from "pg-logical-replication";
import type { Pgoutput } from "pg-logical-replication";
import type pg from "pg";

/** What hosted projects publish their tables in. */
export const PUBLICATION = "supabase_realtime";

export type ChangeType = "INSERT" | "UPDATE" | "DELETE";

/** A row's columns as Postgres writes them; what the log does not hold (a large value that stayed) is undefined. */
export type Tuple = Record<string, string | null | undefined>;

/** A table as it was when a change of it was committed. */
export interface Relation {
  oid: number;
  schema: string;
  table: string;
  columns: { name: string; typeOid: number }[];
}

/** One committed change of one row. */
export interface Change {
  type: ChangeType;
  relation: Relation;
  now: Tuple | undefined;
  /** What the table's replica identity holds of the former row. */
  before: Tuple;
  transaction: number;
  /** `2026-01-31T12:00:00.000Z` */
  committedAt: string;
  /** How much text it is, about. */
  size: number;
}

/** A stream of what is committed, while somebody wants it. */
export interface Replication {
  /** Whether every change from now on is heard. */
  readonly isLive: boolean;
  /** Can be called again. It goes on until {@link stop}, also after the connection was lost. */
  start(): void;
  /** @returns when its slot is gone. Can be called again. */
  stop(): Promise<void>;
}

export interface ReplicationOptions {
  /** Connection string of a role that may replicate. */
  url: string;
  /** Gets every change, in the order of commits; the stream waits for it. */
  onChange: (change: Change) => Promise<void> | void;
  /** Every change that is committed from now on will come. */
  onLive: () => void;
  /** Changes may be missed until it is live again. */
  onLost: () => void;
  /** Whether a slot of this name is there still. */
  hasSlot: (name: string) => Promise<boolean>;
}

/** Pauses before another try, in milliseconds. */
const PAUSES = [200, 1_000, 2_000, 5_000];

/**
 * Listens to the log through a temporary slot: Postgres itself drops it when the connection ends, for any reason,
 * and keeps no log for a client that is gone.
 */
export function openReplication(options: ReplicationOptions): Replication {
  let wanted: { stop: () => void } | undefined;
  let running: Promise<void> = Promise.resolve();
  let isLive = false;

  async function run(isWanted: () => boolean, whenUnwanted: Promise<void>): Promise<void> {
    for (let failures = 0; isWanted();) {
      const live = () => {
        failures = 0;
        isLive = true;
        options.onLive();
      };
      await stream(options, live, whenUnwanted);
      const wasLive = isLive;
      isLive = false;
      if (!isWanted()) return;
      if (wasLive) options.onLost();
      const pause = PAUSES[Math.min(failures++, PAUSES.length - 1)];
      await Promise.race([sleep(pause, undefined, { ref: false }), whenUnwanted]);
    }
  }

  return {
    get isLive() {
      return isLive;
    },
    start() {
      if (wanted !== undefined) return;
      let unwanted = false;
      let stop!: () => void;
      const whenUnwanted = new Promise<void>((resolve) => {
        stop = () => {
          unwanted = true;
          resolve();
        };
      });
      wanted = { stop };
      running = running.then(() => run(() => !unwanted, whenUnwanted));
    },
    async stop() {
      wanted?.stop();
      wanted = undefined;
      await running;
    },
  };
}

/** Streams until the connection ends or nobody wants it any more; how it ended, the caller need not know. */
async function stream(options: ReplicationOptions, live: () => void, unwanted: Promise<void>): Promise<void> {
  const slot = `${PUBLICATION}_${randomBytes(6).toString("hex")}`;
  const service = new LogicalReplicationService(
    { connectionString: options.url },
    { acknowledge: { auto: false, timeoutSeconds: 0 }, flowControl: { enabled: true } },
  );
  let began: Begun | undefined;
  service.on("start", live);
  service.on("error", () => {});
  // The slot ends with the connection, so there is nothing to go on from: old log may go as soon as it was read.
  service.on("heartbeat", (lsn: string) => void service.acknowledge(oneBefore(lsn)));
  service.on("data", async (_: string, message: Pgoutput.Message | Unreadable) => {
    if (message.tag === "unreadable") await service.stop();
    else if (message.tag === "begin") began = begunBy(message);
    else if (isChange(message)) await options.onChange(changeOf(message, began!));
  });
  const ended = service.subscribe(new TemporarySlotPlugin(), slot).catch(() => {});
  await Promise.race([ended, unwanted]);
  await service.destroy().catch(() => {});
  await ended;
  await untilGone(() => options.hasSlot(slot));
}

/**
 * The library adds one to what it acknowledges. A server that stops waits until it is told exactly what it has sent:
 * of more than that it waits for ever.
 */
function oneBefore(lsn: string): string {
  const [high, low] = lsn.split("/").map((part) => BigInt(`0x${part}`));
  const before = ((high! << 32n) | low!) - 1n;
  return `${(before >> 32n).toString(16)}/${(before & 0xffffffffn).toString(16)}`;
}

/** Postgres drops the slot a moment after the connection has ended. */
async function untilGone(isThere: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (Date.now() < deadline && (await isThere().catch(() => false))) await sleep(5);
}

/** What can't be read: the stream is begun anew. */
interface Unreadable {
  tag: "unreadable";
}

/** The library's reader of pgoutput, with a slot of its own and with values as Postgres wrote them. */
class TemporarySlotPlugin extends PgoutputPlugin {
  constructor() {
    super({ protoVersion: 1, publicationNames: [PUBLICATION] });
  }

  override parse(buffer: Buffer): Pgoutput.Message {
    try {
      const message = super.parse(buffer);
      // A Date has no microseconds, and a number no 19 digits.
      if (message.tag === "relation") for (const column of message.columns) column.parser = asItIs;
      return message;
    } catch {
      // Thrown from here it would end the process.
      return { tag: "unreadable" } satisfies Unreadable as never;
    }
  }

  override async start(client: pg.Client, slotName: string): Promise<unknown> {
    await client.query(
      `CREATE_REPLICATION_SLOT "${slotName}" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')`,
    );
    return await super.start(client as never, slotName, "0/0");
  }
}

function asItIs(value: string): string {
  return value;
}

interface Begun {
  transaction: number;
  committedAt: string;
}

function begunBy({ xid, commitTime }: Pgoutput.MessageBegin): Begun {
  return { transaction: xid >>> 0, committedAt: new Date(Number(commitTime) / 1000).toISOString() };
}

type RowMessage = Pgoutput.MessageInsert | Pgoutput.MessageUpdate | Pgoutput.MessageDelete;

function isChange(message: Pgoutput.Message): message is RowMessage {
  return message.tag === "insert" || message.tag === "update" || message.tag === "delete";
}

function changeOf(message: RowMessage, begun: Begun): Change {
  const now = message.tag === "delete" ? undefined : (message.new as Tuple);
  const before = message.tag === "insert" ? {} : ((message.old ?? message.key ?? keyOf(message)) as Tuple);
  return {
    type: message.tag.toUpperCase() as ChangeType,
    relation: relationOf(message.relation),
    now,
    before,
    ...begun,
    size: sizeOf(now) + sizeOf(before),
  };
}

/** One for each state of a table, so that changes of the same state are known by it. */
const relations = new WeakMap<Pgoutput.MessageRelation, Relation>();

function relationOf(message: Pgoutput.MessageRelation): Relation {
  const known = relations.get(message);
  if (known !== undefined) return known;
  const columns = message.columns.map(({ name, typeOid }) => ({ name, typeOid: typeOid >>> 0 }));
  const relation = { oid: message.relationOid >>> 0, schema: message.schema, table: message.name, columns };
  relations.set(message, relation);
  return relation;
}

/** An update that leaves the key as it is does not repeat it. */
function keyOf(message: RowMessage): Tuple {
  if (message.tag !== "update") return {};
  return Object.fromEntries(message.relation.keyColumns.map((name) => [name, message.new[name] as string]));
}

function sizeOf(tuple: Tuple | undefined): number {
  return Object.values(tuple ?? {}).reduce((sum, value) => sum + (value?.length ?? 0), 0);
}
