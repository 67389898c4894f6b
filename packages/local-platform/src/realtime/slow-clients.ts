import { setTimeout as sleep } from "node:timers/promises";
import type { WebSocket } from "ws";

/** Of a socket that has more than this to read, all wait for so long; then it is dropped. Bytes, milliseconds. */
const BEHIND_BYTES = 1024 * 1024;
const PATIENCE_MS = 1_000;

/** Waits for clients that are behind, not for long: a client that reads slower than that is dropped, and joins anew. */
export async function untilRead(clients: Set<WebSocket>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  const behind = () => [...clients].filter((client) => client.bufferedAmount > BEHIND_BYTES);
  while (behind().length > 0) {
    if (Date.now() > deadline) return behind().forEach((client) => client.terminate());
    await sleep(10);
  }
}
