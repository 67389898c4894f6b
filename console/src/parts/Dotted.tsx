import type { ReactNode } from "react";
import classes from "./Dotted.module.css";

/** A name, with its colour in the bar or chart beside. */
export function Dotted({ colour, children }: { colour: string; children: ReactNode }) {
  return (
    <span className={classes["name"]}>
      <span className={classes["dot"]} style={{ background: colour }} aria-hidden />
      <span className="words">{children}</span>
    </span>
  );
}
