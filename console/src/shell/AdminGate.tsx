import { Skeleton } from "@mantine/core";
import { usePart } from "../parts/part.ts";
import { Refused } from "../parts/Refused.tsx";
import { isAdminSession, useSession } from "../session.tsx";
import { Lost } from "./Lost.tsx";
import { SignedIn } from "./SignedIn.tsx";

/** For whoever is no admin there is nothing here. What keeps them out is the database, which refuses them. */
export function AdminGate() {
  const { session } = useSession();
  return <SignedIn>{isAdminSession(session) ? <Pages /> : <Lost />}</SignedIn>;
}

function Pages() {
  const { Part, error } = usePart("admin's pages", () => import("../admin/Pages.tsx"));
  if (Part !== undefined) return <Part />;
  return error === null ? <Skeleton height="20rem" /> : <Refused error={error} />;
}
