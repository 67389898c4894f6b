/**
 * What the snippets of the guides take for granted: docs/guides/calling.md says it to readers. Checked with them by the
 * compiler, and run with them against a stack with the demo data.
 */
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import ws from "ws";
import type { Database } from "../../../supabase/functions/_shared/database.types.ts";

type Functions = Database["public"]["Functions"];
/**
 * The database as `--types` writes it down. What a function answers is JSON to that, of which every reader knows more:
 * names and arguments are checked by the compiler, answers by running it.
 */
export type Documented = Omit<Database, "public"> & {
  public: Omit<Database["public"], "Functions"> & {
    Functions: {
      [Name in keyof Functions]: Omit<Functions[Name], "Returns"> & {
        // oxlint-disable-next-line typescript/no-explicit-any
        Returns: Functions[Name]["Returns"] extends readonly unknown[] ? Functions[Name]["Returns"] : any;
      };
    };
  };
};

const { SUPABASE_URL, SUPABASE_SECRET_KEY, SUPABASE_PUBLISHABLE_KEY } = process.env as Record<string, string>;
const client = (key: string): SupabaseClient<Documented> =>
  createClient<Documented>(SUPABASE_URL!, key, {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { transport: ws as never },
  });
async function signedIn(email: string): Promise<SupabaseClient<Documented>> {
  const one = client(SUPABASE_PUBLISHABLE_KEY!);
  const { error } = await one.auth.signInWithPassword({ email, password: "tokenbook-demo" });
  if (error !== null) throw error;
  return one;
}

/** A client of the server's, with the secret key. */
export const server: SupabaseClient<Documented> = client(SUPABASE_SECRET_KEY!);
/** The same for a read replica: here the one database there is. */
export const replica: SupabaseClient<Documented> = server;
/** A client of somebody who is signed in, and who that is. */
export const supabase: SupabaseClient<Documented> = await signedIn("alice@example.com");
export const user: { id: string } = { id: "a11ce000-0000-4000-8000-000000000001" };
/** A client of an admin who is signed in. */
export const admin: SupabaseClient<Documented> = await signedIn("admin@example.com");

/** The app's own: other users, the id of a request, its call of a model, what it shows. */
export const [payer, ann]: [string, string] = [
  "ca401000-0000-4000-8000-000000000004",
  "94ace000-0000-4000-8000-000000000008",
];
export const requestId: string = crypto.randomUUID();
export const askTheModel = async (prompt: string, signal: AbortSignal) => {
  signal.throwIfAborted();
  return { text: `Twice. (${prompt})`, input: 12, output: 3 };
};
export const show = (...what: unknown[]): void => void what;
