"use server";

import { revalidatePath } from "next/cache";
import { tokenbook } from "tokenbook";
import { supabaseOfRequest } from "./supabase";

export async function signIn(form: FormData): Promise<void> {
  const supabase = await supabaseOfRequest();
  const [email, password] = [String(form.get("email")), String(form.get("password"))];
  const { error } = await supabase.auth.signInWithPassword({ email, password });
  if (error !== null) throw error;
  revalidatePath("/");
}

/** The form has a key: sent twice, it is paid for once. */
export async function spend(form: FormData): Promise<void> {
  const books = tokenbook(await supabaseOfRequest());
  await books.deduct(50, { actionType: "chat_conversation", idempotencyKey: String(form.get("key")) });
  revalidatePath("/");
}
