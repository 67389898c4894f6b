import { Button, Menu } from "@mantine/core";
import { IconChevronDown, IconLogout } from "@tabler/icons-react";
import { lazy, Suspense } from "react";
import { isAdminSession, useSession } from "../session.tsx";
import classes from "./Shell.module.css";

const AdminItem = lazy(() => import("../admin/MenuItem.tsx"));

/** The user who is signed in, and the way out. */
export function AccountMenu() {
  const { session, supabase } = useSession();
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
          aria-label={`Account of ${name}`}
        >
          <span className={classes["name"]}>{name}</span>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label className="words">{name}</Menu.Label>
        <Menu.Divider />
        {isAdminSession(session) && (
          <Suspense>
            <AdminItem />
          </Suspense>
        )}
        <Menu.Item
          leftSection={<IconLogout size={16} aria-hidden />}
          // this browser alone: elsewhere they stay signed in
          onClick={() => void supabase.auth.signOut({ scope: "local" })}
        >
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
