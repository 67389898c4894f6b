import { Menu } from "@mantine/core";
import { IconUsers } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";

/** The way to an admin's pages. */
export default function MenuItem() {
  return (
    <Menu.Item
      renderRoot={(props) => <Link {...props} to="/admin/$" params={{ _splat: "" }} />}
      leftSection={<IconUsers size={16} aria-hidden />}
    >
      Look after users
    </Menu.Item>
  );
}
