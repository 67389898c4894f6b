import { createClient } from "@supabase/supabase-js";

export const supabase = createClient(import.meta.env.VITE_SUPABASE_URL!, import.meta.env.VITE_SUPABASE_KEY!);

export async function signIn(form: FormData): Promise<void> {
  await supabase.auth.signInWithPassword(Object.fromEntries(form) as { email: string; password: string });
}
