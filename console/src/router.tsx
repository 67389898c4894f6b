/** The pages. Each is a file of its own, which is fetched when somebody goes there: a user does not carry the others'. */
import { createRootRoute, createRoute, createRouter } from "@tanstack/react-router";
import { fetched } from "./parts/part.ts";
import { Refused } from "./parts/Refused.tsx";
import type { AdminSearch } from "./admin/search.ts";
import { AdminGate } from "./shell/AdminGate.tsx";
import { Lost } from "./shell/Lost.tsx";
import { Shell } from "./shell/Shell.tsx";
import { readUserSearch } from "./user/search.ts";

function Broken({ error }: { error: unknown }) {
  return <Refused error={error} retry={() => location.reload()} />;
}

const root = createRootRoute({
  component: Shell,
  notFoundComponent: Lost,
  errorComponent: Broken,
});

const user = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: readUserSearch,
}).lazy(() => fetched(async () => (await import("./user/route.tsx")).route));

/** One route for all of them: what there is behind it, its pages know, and who is no admin fetches none of them. */
const admin = createRoute({
  getParentRoute: () => root,
  path: "/admin/$",
  validateSearch: (search: Record<string, unknown>): AdminSearch => search,
  component: AdminGate,
});

export const router = createRouter({
  routeTree: root.addChildren([user, admin]),
  // a page that breaks leaves what is around it
  defaultErrorComponent: Broken,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
