// Live pictures of all cameras. A picture is acknowledged once it is shown, and only then comes the next one.
export default {
  template: `
    <div class="cameras">
      <figure v-for="(name, place) in names" :key="name" class="camera">
        <img ref="pictures" :alt="'camera ' + name + (rates[place] ? '' : ': no picture yet')" />
        <figcaption>{{ name }} <span class="rate">{{ rates[place] ? rates[place] + " Hz" : "no picture yet" }}</span></figcaption>
      </figure>
    </div>`,
  props: { names: Array },
  data() {
    return { rates: this.names.map(() => 0) };
  },
  mounted() {
    this.counts = this.names.map(() => 0);
    this.onPicture = (event) => this.show(event.detail);
    window.addEventListener("console-picture", this.onPicture);
    this.timer = setInterval(() => {
      this.rates = this.counts.map((count) => Math.round(count / 2));
      this.counts.fill(0);
    }, 2000);
  },
  unmounted() {
    window.removeEventListener("console-picture", this.onPicture);
    clearInterval(this.timer);
  },
  methods: {
    show({ place, picture, done }) {
      const image = this.$refs.pictures?.[place];
      if (!image) return done();
      const address = URL.createObjectURL(picture);
      const over = () => {
        URL.revokeObjectURL(address);
        this.counts[place] += 1;
        done();
      };
      image.onload = over;
      image.onerror = over;
      image.src = address;
    },
  },
};
