// The search takes a leading "-" for NOT and words for beginnings of words, so that options such as `--align` find nothing, and "a" and "of" find every page.
{
  const send = window.Worker.prototype.postMessage;
  window.Worker.prototype.postMessage = function (message, ...rest) {
    if (typeof message?.data === "string") {
      const words = message.data.replace(/[*^~]|(^|[\s"])[^\p{L}\p{N}\s"]+/gu, "$1").split(/\s+/);
      const long = words.filter((word) => word.length > 2);
      message = { ...message, data: (long.length ? long : words).join(" ") };
    }
    return send.call(this, message, ...rest);
  };
}
