import { Loader, Center } from "@mantine/core";
import type { ReactNode } from "react";
import { useSession } from "../session.tsx";
import { SignIn } from "./SignIn.tsx";

/** What is inside is for people who are signed in; others sign in first, and stay where they are. */
export function SignedIn({ children }: { children: ReactNode }) {
  const { session } = useSession();
  if (session === undefined) {
    return (
      <Center h="50vh">
        <Loader size="sm" aria-label="Loading" />
      </Center>
    );
  }
  return session === null ? <SignIn /> : children;
}
