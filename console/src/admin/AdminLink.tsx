import { Anchor, type AnchorProps } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";

interface AdminLinkProps extends AnchorProps {
  /** After `/admin/`. */
  path: string;
  title?: string;
  /** The direction of a text that a user or an admin wrote. */
  dir?: "auto";
  children: ReactNode;
}

/** A link to another of an admin's pages. */
export function AdminLink({ path, ...anchor }: AdminLinkProps) {
  return (
    <Anchor
      size="sm"
      {...anchor}
      renderRoot={(props) => <Link {...props} to="/admin/$" params={{ _splat: path }} />}
    />
  );
}
