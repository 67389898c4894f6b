import { Skeleton } from "@mantine/core";
import { lazy, Suspense } from "react";
import { isAdminSession, useSession } from "../session.tsx";
import { Lost } from "./Lost.tsx";
import { SignedIn } from "./SignedIn.tsx";

const Pages = lazy(() => import("../admin/Pages.tsx"));

/** For whoever is no admin there is nothing here. What keeps them out is the database, which refuses them. */
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
