import { signIn } from "./supabase.ts";

export function SignIn({ hidden }: { hidden: boolean }) {
  return (
    <form action={signIn} hidden={hidden}>
      <input name="email" type="email" aria-label="E-mail" />
      <input name="password" type="password" aria-label="Password" />
      <button>Sign in</button>
    </form>
  );
}
