import { Failure } from "local-platform/terminal/failure";

/** How node-postgres names a connection that is gone, and how Postgres does that goes down. */
const lost = /^(ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENETDOWN|57P0[1-3]|08\w{3})$/;

/** Postgres' words for a table, a function or a schema that is not there. */
const missing = ["42P01", "42883", "3F000"];

/** Whether the connection is gone, by the network or by the server. */
export function isConnectionLost(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return lost.test(code ?? "") || /^Connection terminated|^Client has encountered a conn/.test(message ?? "");
}

/**
 * What a person can do something about, of what a database can say; anything else as it is.
 *
 * @param where for people: which database.
 */
export function asDatabaseFailure(error: unknown, where: string): unknown {
  if (missing.includes((error as { code?: string }).code ?? "")) {
    return new Failure(`Tokenbook is not installed in ${where}: npx tokenbook install`);
  }
  if (isConnectionLost(error)) {
    return new Failure(`The connection to ${where} was lost: ${(error as Error).message}`);
  }
  return error;
}
