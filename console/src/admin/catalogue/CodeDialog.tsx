import { Button, CopyButton, Group, Stack, Text } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useRef, useState } from "react";
import { type TokenCode, TokenbookError } from "tokenbook";
import { format } from "../../format.ts";
import { ActDialog } from "../ActDialog.tsx";
import { useAdmin, useChanged } from "../queries.ts";
import { randomCode } from "./code.ts";
import { draftOf, isComplete, valueOf } from "../draft.ts";
import { FieldInputs } from "../FieldInputs.tsx";
import { codeFields } from "./fields.ts";
import classes from "./Code.module.css";

const newCode = { max_redemptions: 1, max_per_user: 1, grant_type: "bonus" };

/** Makes a code, and shows it once. */
export function CodeDialog({ close }: { close: () => void }) {
  const admin = useAdmin();
  const changed = useChanged();
  const [draft, change] = useState(() => draftOf(codeFields, newCode));
  const number = (name: string) =>
    (valueOf(
      codeFields.find((it) => it.name === name)!,
      draft,
    ) ?? undefined) as number | undefined;
  const text = (name: string) => String(draft[name]).trim();
  const until = text("valid_until");
  const [drawn] = useState(randomCode);
  const chosen = text("code");
  const code = chosen === "" ? drawn : chosen;
  // the codes that there were before it was asked for the first time
  const former = useRef(new Set<string>());
  const newest = async () => (await admin.codes({ limit: 50 })).codes;
  const isOurs = (it: TokenCode) =>
    !former.current.has(it.code_id) &&
    it.name === text("name") &&
    it.tokens === number("tokens") &&
    it.max_redemptions === number("max_redemptions");
  return (
    <ActDialog
      title="New code"
      verb="Make"
      size="lg"
      isReady={isComplete(codeFields, draft)}
      close={close}
      check={async () => {
        former.current = new Set((await newest()).map(({ code_id }) => code_id));
        return true;
      }}
      act={async () => {
        try {
          await admin.createCode(number("tokens")!, {
            name: text("name"),
            maxRedemptions: number("max_redemptions"),
            maxPerUser: number("max_per_user"),
            validUntil: until === "" ? undefined : `${until}T00:00:00Z`,
            lifetimeDays: number("lifetime_days"),
            grantType: text("grant_type"),
            code,
          });
        } catch (error) {
          if (!(error instanceof TokenbookError) || error.code !== "code_taken") throw error;
          // an answer was lost, and it is the one that was made: nobody else draws it, and of one’s own the list knows
          const isMade = chosen === "" || (await newest()).some(isOurs);
          if (!isMade) throw error;
        }
        changed();
        return <Made code={code} tokens={number("tokens")!} />;
      }}
    >
      <FieldInputs fields={codeFields} draft={draft} change={change} isFirst />
      {chosen !== "" && (
        <Text size="xs" c="dimmed">
          A code of your own can be guessed: its limits are what protects it.
        </Text>
      )}
    </ActDialog>
  );
}

function Made({ code, tokens }: { code: string; tokens: number }) {
  return (
    <Stack gap="xs">
      <Text size="sm">
        Whoever redeems it is given {format.tokens(tokens)} tokens. It is shown now, and never again: the
        books keep no more than its digest.
      </Text>
      <Group gap="sm">
        <Text component="code" ff="monospace" fw={600} className={classes["code"]!} data-testid="code">
          {code}
        </Text>
        {/* over plain http a page may not copy */}
        {window.isSecureContext && (
          <CopyButton value={code}>
            {({ copied, copy }) => (
              <Button
                size="xs"
                variant="default"
                leftSection={
                  copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />
                }
                onClick={copy}
              >
                {copied ? "Copied" : "Copy"}
              </Button>
            )}
          </CopyButton>
        )}
      </Group>
    </Stack>
  );
}
