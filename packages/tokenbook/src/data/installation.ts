import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** What `check_token_installation` says of one subject. */
export interface Finding {
  subject: string;
  /** `warning`: of the project around Tokenbook, or harmless to the books by itself. */
  status: "ok" | "warning" | "fault";
  finding: string;
  /** The statements that mend it; null when there is nothing to mend, or only the migrations say how it was made. */
  remedy: string | null;
}

/** What threatens the books from outside of them, subject by subject. */
export async function checkInstallation(client: SqlClient): Promise<Finding[]> {
  return await select<Finding>(client, "select * from public.check_token_installation()");
}
