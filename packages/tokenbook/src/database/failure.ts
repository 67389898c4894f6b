import { Failure } from "local-platform/terminal/failure";

/** How node-postgres names a connection that is gone, and how Postgres does that goes down. */
const lost = /^(ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENETDOWN|57P0[1-3]|08\w{3})$/;

/** Postgres' words for a table, a function or a schema that is not there. */
const missing = ["42P01", "42883", "3F000"];

/** What Postgres says of a statement that failed, as node-postgres hands it on. */
interface Said {
  code?: string;
  severity?: string;
  message?: string;
  detail?: string;
  hint?: string;
}

/** Whether the connection is gone, by the network or by the server. */
export function isConnectionLost(error: unknown): boolean {
  const { code, message } = error as Said;
  return lost.test(code ?? "") || /^Connection terminated|^Client has encountered a conn/.test(message ?? "");
}

/**
 * What a person can do something about, of what a database can say; anything else as it is.
 *
 * @param where for people: which database.
 * @param role as whom.
 */
export function asDatabaseFailure(error: unknown, where: string, role: string): unknown {
  const { code = "", severity, message = "", detail, hint } = error as Said;
  // of a project's own view or function it may be missing too
  if (missing.includes(code) && /token/i.test(message)) {
    return new Failure(`Tokenbook is not installed in ${where}: npx tokenbook install`);
  }
  if (isConnectionLost(error)) {
    return new Failure(`The connection to ${where} was lost: ${message}`);
  }
  if (severity === undefined || !/^[0-9A-Z]{5}$/.test(code)) return error;
  if (code === "25006") return new Failure(readOnly(message, where));
  if (code === "42501") return new Failure(notAllowed(message, where, role));
  return new Failure([`${where} says: ${message} (${code})`, detail, hint].filter(Boolean).join("\n"));
}

/** Of a read replica, or of a session that may not write. */
const readOnly = (message: string, where: string): string =>
  `${where} is read-only, as a read replica is: ${message} (25006).\nGive the address of the primary: --db-url`;

/** Whose right is missing, and which role has it. */
function notAllowed(message: string, where: string, role: string): string {
  const [, hiding] = /row-level security policy for table "(.+)"/.exec(message) ?? [];
  if (hiding !== undefined) {
    return [
      `${role} does not see all rows of the table ${hiding}: row level security hides some, and what is hidden would count as nothing.`,
      `Connect as postgres, or as another role that passes it (BYPASSRLS): ${where}`,
    ].join("\n");
  }
  // what our own functions answer to a role that they do not know
  return message === "not_authenticated" || message === "forbidden"
    ? `${role} may not do that: the books answer postgres and service_role alone (42501).\nConnect as postgres: ${where}`
    : `${role} may not do that: ${message} (42501).\nConnect as postgres, or as the role that owns what it is about: ${where}`;
}
