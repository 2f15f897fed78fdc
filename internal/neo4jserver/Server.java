import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;

/** Runs a Neo4j server in the folder that is its only argument, until it is told to end. */
class Server {
    public static void main(String[] args) throws Exception {
        try {
            run(Path.of(args[0]));
        } catch (Exception e) { // the server's own threads would keep the process alive
            e.printStackTrace();
            System.exit(1);
        }
    }

    private static void run(Path home) throws Exception {
        var server = new DatabaseManagementServiceBuilder(home).loadPropertiesFromFile(home.resolve("neo4j.conf")).build();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        server.database("system").executeTransactionally(
            "CREATE OR REPLACE USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED",
            Map.of("password", Files.readString(home.resolve("password"))));
        System.out.println("The server is ready.");
        Thread.currentThread().join();
    }
}
