/* A page that spends and shows the tokens of the user that its address names. */
import { createClient } from "@supabase/supabase-js";
import { tokenbook, TokenbookError } from "tokenbook";

declare const SUPABASE_URL: string, KEY: string;

const supabase = createClient(SUPABASE_URL, KEY);
const books = tokenbook(supabase);
const [text, button] = [document.querySelector("p")!, document.querySelector("button")!];
const query = new URLSearchParams(location.search);
const { error } = await supabase.auth.signInWithPassword({
  email: query.get("email")!,
  password: query.get("password")!,
});
if (error !== null) throw error;

text.textContent = `${(await books.balance()).total_active} tokens`;
button.addEventListener("click", async () => {
  await books.deduct(50, { actionType: "chat_conversation" });
  const refused: unknown = await books.deduct(-1).catch((reason: unknown) => reason);
  const entries: number[] = [];
  for await (const { tokens } of books.history()) entries.push(tokens);
  const { total_active } = await books.balance();
  const why = refused instanceof TokenbookError ? refused.code : String(refused);
  text.textContent = `${total_active} tokens: ${entries.join(", ")}; ${why}`;
});
