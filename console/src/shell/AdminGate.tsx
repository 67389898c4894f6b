import { Skeleton } from "@mantine/core";
import { lazy, Suspense } from "react";
import { isAdminSession, useSession } from "../session.tsx";
import { Lost } from "./Lost.tsx";
import { SignedIn } from "./SignedIn.tsx";

const Pages = lazy(() => import("../admin/Pages.tsx"));

/** Shows a user who is no admin nothing. The database enforces that: it refuses them. */
export function AdminGate() {
  const { session } = useSession();
  return (
    <SignedIn>
      {isAdminSession(session) ? (
        <Suspense fallback={<Skeleton height="20rem" />}>
          <Pages />
        </Suspense>
      ) : (
        <Lost />
      )}
    </SignedIn>
  );
}
