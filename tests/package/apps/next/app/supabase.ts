import { createServerClient } from "@supabase/ssr";
import { cookies } from "next/headers";

globalThis.WebSocket ??= Object as never; // Node 20 has none, and supabase-js wants one to be there

/** A client of the user who sent the request; their session is in cookies. */
export async function supabaseOfRequest() {
  const store = await cookies();
  return createServerClient(process.env["SUPABASE_URL"]!, process.env["SUPABASE_PUBLISHABLE_KEY"]!, {
    cookies: {
      getAll: () => store.getAll(),
      setAll(all) {
        for (const { name, value, options } of all) store.set(name, value, options);
      },
    },
  });
}
