import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { tokenKeys, useTokenBalance, useTokenLive, useTokenUser } from "tokenbook/react";

/** How often the balance is asked where Realtime does not tell of changes. */
const withoutRealtimeMs = 4_000;

/**
 * Keeps what is shown fresh where the hooks do not: without Realtime the balance is asked every few seconds while the page
 * is looked at, and when it has changed, or the server answers again, everything that is shown of users is read again.
 * An admin's pages have one for the user whom they are about, whose changes Realtime does not send to an admin.
 */
export function Fresh() {
  const queryClient = useQueryClient();
  const userId = useTokenUser();
  const isLive = useTokenLive();
  const { data, isError, refetch } = useTokenBalance();

  useEffect(() => {
    if (userId == null || (isLive && !isError)) return;
    const ask = () => {
      if (document.visibilityState === "visible") void refetch({ cancelRefetch: false });
    };
    const asking = setInterval(ask, withoutRealtimeMs);
    return () => clearInterval(asking);
  }, [userId, isLive, isError, refetch]);

  // the same answer is the same object: TanStack Query shares it
  const former = useRef(data);
  const wasDown = useRef(false);
  useEffect(() => {
    const isNews = former.current !== undefined && data !== undefined && former.current !== data;
    const isBack = wasDown.current && !isError;
    if (userId != null && (isNews || isBack)) {
      void queryClient.invalidateQueries({
        queryKey: tokenKeys.users,
        predicate: ({ queryKey }) => queryKey.at(-1) !== "balance",
      });
    }
    former.current = data;
    wasDown.current = isError;
  }, [data, isError, userId, queryClient]);
  return null;
}
