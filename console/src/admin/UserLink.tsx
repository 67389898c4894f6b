import { Text } from "@mantine/core";
import { TokenbookError } from "tokenbook";
import { Theirs } from "../parts/Theirs.tsx";
import { AdminLink } from "./AdminLink.tsx";
import { useName } from "./queries.ts";

const project = "00000000-0000-0000-0000-000000000000";

/** To a user of whom an answer says the id alone: by their address. */
export function UserLink({ userId }: { userId: string }) {
  return userId === project ? "The project" : <Named userId={userId} />;
}

function Named({ userId }: { userId: string }) {
  const { data, error } = useName(userId);
  const isGone =
    data?.is_user === false || (error instanceof TokenbookError && error.code === "user_not_found");
  if (isGone) {
    return (
      <>
        <AdminLink path={`users/${userId}`}>A deleted user</AdminLink>
        <Text component="span" display="block" size="xs" c="dimmed" className="words">
          {userId}
        </Text>
      </>
    );
  }
  return (
    <AdminLink path={`users/${userId}`} title={userId} className="words">
      {data?.email == null ? `${userId.slice(0, 8)}…` : <Theirs>{data.email}</Theirs>}
    </AdminLink>
  );
}
