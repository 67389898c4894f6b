import { tokenbook } from "tokenbook";
import { signIn, spend } from "./actions";
import { supabaseOfRequest } from "./supabase";

export default async function Page() {
  const supabase = await supabaseOfRequest();
  const { data } = await supabase.auth.getUser();
  if (data.user === null) {
    return (
      <form action={signIn}>
        <input name="email" type="email" />
        <input name="password" type="password" />
        <button>Sign in</button>
      </form>
    );
  }
  const { total_active } = await tokenbook(supabase).balance();
  return (
    <form action={spend}>
      <p>{total_active} tokens</p>
      <input type="hidden" name="key" value={crypto.randomUUID()} />
      <button>Spend</button>
    </form>
  );
}
