/** Where the keyboard goes on when a dialog is gone. */
import { useEffect, useState } from "react";

/** When what uses it is gone, the focus is where it was before; where that is gone as well, it is near. */
export function useFocusBack(): void {
  const [places] = useState(placesNow);
  useEffect(
    () => () => {
      const place = places.find((it) => it.isConnected && !it.matches(":disabled"));
      if (place === undefined) return;
      // a heading takes it when it is told to
      if (place.tabIndex < 0) place.tabIndex = -1;
      place.focus();
    },
    [places],
  );
}

/** What was used last, and what stands around it: of an item of a menu, the button that opens the menu. */
function placesNow(): HTMLElement[] {
  const used = document.activeElement;
  if (!(used instanceof HTMLElement)) return [];
  const menu = used.closest("[role=menu]");
  const opener = menu === null ? used : document.getElementById(menu.getAttribute("aria-labelledby") ?? "");
  const places = [opener, used.closest("section"), used.closest("main")];
  return places.filter((it) => it instanceof HTMLElement && it !== document.body) as HTMLElement[];
}
