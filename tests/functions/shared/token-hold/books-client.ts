/** A client of the books for `withTokenHold`, without an API in between, that can be made to fail. */
import pg from "pg";
import type { Answer, HoldClient } from "../../../../supabase/functions/_shared/token-hold.ts";
import type { Database } from "../../../support/database.ts";

/** What goes wrong with one question: it never arrives, its answer never does, it hangs, it is refused for now. */
export type Fault = "lost" | "answer lost" | "hangs" | "busy";

/** Connections as the server, and what a client does with them. */
export interface Books extends HoldClient {
  /** A client each of whose questions first asks what is to go wrong with it. */
  unreliable(faultOf: (name: string) => Fault | "dead" | "dies after" | undefined): HoldClient;
  close(): Promise<void>;
}

/** Opens the connections. */
export async function openBooks(db: Database, connections = 16): Promise<Books> {
  const pool = new pg.Pool({
    connectionString: db.url("authenticator"),
    max: connections,
    options: "-c role=service_role",
  });
  // The database is dropped as soon as these are closed: an idle one may hear of that first.
  pool.on("error", () => {});

  const rpc: HoldClient["rpc"] = async (name, args) => {
    const names = Object.keys(args);
    const values = Object.values(args).map((it) => (typeof it === "object" ? JSON.stringify(it) : it));
    const list = names.map((it, n) => `${it} => $${n + 1}`).join(", ");
    try {
      const { rows } = await pool.query(`select public.${name}(${list}) as data`, values);
      return { data: rows[0].data, error: null, status: 200 };
    } catch (error) {
      const { code = "", message, detail = null } = error as pg.DatabaseError;
      return { data: null, error: { code, message, details: detail }, status: statusOf(code) };
    }
  };

  return {
    rpc,
    unreliable: (faultOf) => ({
      async rpc(name, args) {
        const fault = faultOf(name);
        if (fault === "dead") return dead;
        if (fault === "lost") throw new TypeError("fetch failed");
        if (fault === "busy") return refusal("PT503", "busy", 503);
        const answer = await rpc(name, args);
        if (fault === "hangs") return await new Promise<never>(() => {});
        if (fault === "answer lost") throw new TypeError("terminated");
        return fault === "dies after" ? dead : answer;
      },
    }),
    close: () => pool.end(),
  };
}

const refusal = (code: string, message: string, status: number): Answer => ({
  data: null,
  error: { code, message, details: null },
  status,
});

/** What a process that is gone hears: nothing that is worth another question. */
const dead = refusal("", "this process is gone", 418);

/** As PostgREST has it. */
function statusOf(code: string): number {
  if (code.startsWith("PT")) return Number(code.slice(2));
  return code === "42501" ? 403 : code.startsWith("22") ? 400 : 500;
}
