import { Anchor } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { PageName } from "../parts/PageName.tsx";
import { Nothing } from "../parts/Nothing.tsx";

export function Lost() {
  return (
    <>
      <PageName name="No page" />
      <Nothing title="There is no page here">
        <Anchor component={Link} to="/" size="sm">
          To your balance
        </Anchor>
      </Nothing>
    </>
  );
}
