/*
 * The API of a database in a process of its own, so that a test can kill it. Prints its address; asks
 * for `TEST_DATABASE_URL` (of `authenticator`) and `TEST_KEYS`.
 */
import { startApi } from "local-platform/gateway/api";
import type { Keys } from "local-platform/gateway/keys";

const databaseUrl = process.env["TEST_DATABASE_URL"]!;
const api = await startApi({
  databaseUrlFor: (role) => databaseUrl.replace("authenticator", role),
  keys: JSON.parse(process.env["TEST_KEYS"]!) as Keys,
  port: Number(process.env["TEST_PORT"] ?? 0),
});
console.log(api.url);
