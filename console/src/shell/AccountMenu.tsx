import { Button, Menu } from "@mantine/core";
import { IconChevronDown, IconLogout, IconRefresh } from "@tabler/icons-react";
import { isolated, shown, Theirs } from "../parts/Theirs.tsx";
import { reload, usePart } from "../parts/part.ts";
import { isAdminSession, useSession } from "../session.tsx";
import classes from "./Shell.module.css";

/** Who is signed in, and the way out. */
export function AccountMenu() {
  const { session, signOut } = useSession();
  if (session == null) return null;
  const name = session.user.email ?? session.user.id;
  return (
    <Menu position="bottom-end" width={220} withinPortal={false} withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <Button
          variant="subtle"
          color="gray"
          size="sm"
          px="xs"
          className={classes["account"]!}
          rightSection={<IconChevronDown size={14} aria-hidden />}
          aria-label={`Account of ${isolated(name)}`}
        >
          <span className={classes["name"]}>{shown(name)}</span>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          <Theirs>{name}</Theirs>
        </Menu.Label>
        <Menu.Divider />
        {isAdminSession(session) && <AdminItem />}
        <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => void signOut()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** The way to an admin's pages: a file that others do not fetch. */
function AdminItem() {
  const { Part, error } = usePart("admin's item", () => import("../admin/MenuItem.tsx"));
  if (Part !== undefined) return <Part />;
  if (error === null) return null;
  return (
    <>
      <Menu.Label>A part of this menu did not come.</Menu.Label>
      <Menu.Item leftSection={<IconRefresh size={16} aria-hidden />} onClick={reload}>
        Reload the page
      </Menu.Item>
    </>
  );
}
