import { Anchor } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Nothing } from "../parts/Nothing.tsx";

export function Lost() {
  return (
    <Nothing title="There is no page here">
      <Anchor component={Link} to="/" size="sm">
        To your balance
      </Anchor>
    </Nothing>
  );
}
