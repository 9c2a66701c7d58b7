// The page's line to the console: pictures and curves in, acknowledgments and "stop" out.
// Other elements hear it through events of the window.
const RETRY_MS = 500;

function letGo() {
  if (document.activeElement?.closest("button")) document.activeElement.blur();
}

export default {
  template: `<span class="link" :class="{lost: !alive}" role="status">{{ alive ? "connected" : "connection lost" }}</span>`,
  props: { path: String },
  data() {
    return { alive: false };
  },
  mounted() {
    window.consoleLink = { stop: () => this.stop() };
    // A button that was clicked lets go of the keyboard, so that space starts and stops an episode.
    document.addEventListener("click", (event) => event.detail > 0 && letGo());
    this.connect();
  },
  unmounted() {
    this.ended = true;
    this.socket?.close();
  },
  methods: {
    connect() {
      if (this.ended) return;
      const scheme = location.protocol === "https:" ? "wss:" : "ws:";
      const socket = new WebSocket(`${scheme}//${location.host}${this.path}`);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => (this.alive = true);
      socket.onclose = () => {
        this.alive = false;
        setTimeout(() => this.connect(), RETRY_MS);
      };
      socket.onmessage = (event) => {
        if (typeof event.data === "string") {
          const content = JSON.parse(event.data);
          if (content.answer) this.tell("console-answer", content.answer);
          else this.tell("console-curves", content);
          if (!content.answer) socket.send("b");
          return;
        }
        const place = new Uint8Array(event.data, 0, 1)[0];
        const picture = new Blob([new Uint8Array(event.data, 1)], { type: "image/jpeg" });
        const done = () => socket.readyState === WebSocket.OPEN && socket.send(`a${place}`);
        this.tell("console-picture", { place, picture, done });
      };
      this.socket = socket;
    },
    tell(name, detail) {
      window.dispatchEvent(new CustomEvent(name, { detail }));
    },
    stop() {
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send("stop");
      else
        fetch("/stop", { method: "POST" })
          .then((answer) => answer.json())
          .then((answer) => this.tell("console-answer", answer))
          .catch(() => this.tell("console-answer", { done: false, text: "The console does not answer: use the emergency stop." }));
    },
  },
};
