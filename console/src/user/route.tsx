import { createLazyRoute } from "@tanstack/react-router";
import { SignedIn } from "../shell/SignedIn.tsx";
import { UserPage } from "./UserPage.tsx";

export const route = createLazyRoute("/")({
  component: () => (
    <SignedIn>
      <UserPage />
    </SignedIn>
  ),
});
