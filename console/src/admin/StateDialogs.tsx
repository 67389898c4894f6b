import { Text, TextInput } from "@mantine/core";
import { useState } from "react";
import type { AccountState } from "tokenbook";
import { useTokenbook } from "tokenbook/react";
import { format } from "../format.ts";
import { shown, Theirs } from "../parts/Theirs.tsx";
import { ActDialog } from "../parts/ActDialog.tsx";
import { useAdmin, useChanged } from "./queries.ts";
import { Reason } from "./Reason.tsx";

/** Freezes an account, or makes it active again. */
export function StateDialog({ to, close }: { to: AccountState; close: () => void }) {
  const books = useTokenbook();
  const [reason, setReason] = useState("");
  const isFreeze = to === "frozen";
  return (
    <ActDialog
      title={isFreeze ? "Freeze the account" : "Make the account active again"}
      verb={isFreeze ? "Freeze" : "Make active"}
      isGrave={isFreeze}
      isReady={reason.trim() !== ""}
      close={close}
      act={async () => {
        await books.setAccountState(to, { reason: reason.trim() });
        return <Text size="sm">{isFreeze ? "The account is frozen." : "The account is active."}</Text>;
      }}
    >
      <Text size="sm">
        {isFreeze
          ? "Nothing is spent, held or topped up until it is active again. Their tokens stay, and grants still run out."
          : "They can spend again at once."}
      </Text>
      <Reason value={reason} change={setReason} isFirst />
    </ActDialog>
  );
}

/** Erases what is personal of a user from the books. */
export function ForgetDialog({ userId, name, close }: { userId: string; name: string; close: () => void }) {
  const admin = useAdmin();
  const changed = useChanged();
  const [typed, setTyped] = useState("");
  return (
    <ActDialog
      title="Forget this user"
      verb="Erase their words"
      isGrave
      isReady={shown(typed.trim()) === shown(name)}
      close={close}
      act={async () => {
        let rows = 0;
        for (;;) {
          const { erased, is_done } = await admin.forget(userId);
          rows += Object.values(erased).reduce((sum, count) => sum + count, 0);
          if (is_done) break;
        }
        changed();
        return (
          <Text size="sm">
            {rows === 0
              ? "There was nothing of theirs to erase."
              : `Words were taken out of ${rows === 1 ? "one row" : `${format.tokens(rows)} rows`}. Numbers, ids and keys stay.`}
          </Text>
        );
      }}
    >
      <Text size="sm">
        Reasons, metadata and messages of errors are erased from everything that the books keep about them.
        Numbers stay, so the books still add up. It cannot be undone.
      </Text>
      <TextInput
        label={
          <>
            Type <Theirs>{name}</Theirs> to confirm
          </>
        }
        data-autofocus
        autoComplete="off"
        value={typed}
        onChange={({ currentTarget }) => setTyped(currentTarget.value)}
      />
    </ActDialog>
  );
}
