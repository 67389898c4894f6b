/*
 * Phoenix's frames, as supabase-js sends and reads them: serializer 1.0.0 has objects, 2.0.0 lists.
 * What supabase-js sends as bytes is a broadcast.
 */

export type Serializer = "1.0.0" | "2.0.0";

/** What a client says. */
export interface ClientFrame {
  joinRef: string | null;
  ref: string | null;
  topic: string;
  event: string;
  payload: Record<string, unknown>;
}

/** What is said to a client; the payload is JSON already. */
export interface ServerFrame {
  joinRef: string | null;
  ref: string | null;
  topic: string;
  event: string;
  payload: string;
}

/** @returns undefined for what is no frame. */
export function readFrame(text: string, serializer: Serializer): ClientFrame | undefined {
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof read !== "object" || read === null) return undefined;
  const named = read as Record<string, unknown>;
  const [joinRef, ref, topic, event, payload] =
    serializer === "2.0.0"
      ? Array.isArray(read)
        ? (read as unknown[])
        : []
      : [named["join_ref"], named["ref"], named["topic"], named["event"], named["payload"]];
  if (typeof topic !== "string" || typeof event !== "string") return undefined;
  return { joinRef: refIn(joinRef), ref: refIn(ref), topic, event, payload: objectIn(payload) };
}

/** The head of a frame of bytes, which holds one broadcast; undefined for what is none. */
export function readBinaryFrame(bytes: Buffer): ClientFrame | undefined {
  const [kind, joinRefSize, refSize, topicSize] = bytes;
  if (kind !== USER_BROADCAST_PUSH || topicSize === undefined) return undefined;
  let at = 7;
  const next = (size: number) => bytes.toString("utf8", at, (at += size));
  const [joinRef, ref, topic] = [next(joinRefSize!), next(refSize!), next(topicSize)];
  return { joinRef: joinRef || null, ref: ref || null, topic, event: "broadcast", payload: {} };
}

const USER_BROADCAST_PUSH = 3;

export function writeFrame(frame: ServerFrame, serializer: Serializer): string {
  const [joinRef, ref, topic, event] = [frame.joinRef, frame.ref, frame.topic, frame.event].map((part) =>
    JSON.stringify(part),
  );
  return serializer === "2.0.0"
    ? `[${joinRef},${ref},${topic},${event},${frame.payload}]`
    : `{"join_ref":${joinRef},"ref":${ref},"topic":${topic},"event":${event},"payload":${frame.payload}}`;
}

function refIn(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function objectIn(value: unknown): Record<string, unknown> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : {};
}
