-- | Two servers in one process, and what the binding promises of them. Prints TAP.
module Main (main) where

import Control.Concurrent
import Control.Exception
import Control.Monad
import qualified Data.ByteString.Char8 as B
import Data.IORef
import Data.Maybe (isJust)
import Network.Socket (SockAddr (..), tupleToHostAddress)
import Network.TBQuic
import System.Exit (exitFailure)
import System.IO

local :: QuicConfig
local = defaultQuicConfig
  { qcBindAddress = SockAddrInet 0 (tupleToHostAddress (127, 0, 0, 1)), qcBindPort = 0 }

main :: IO ()
main = do
  hSetBuffering stdout LineBuffering
  count <- newIORef (0 :: Int, 0 :: Int)
  let ok good what = do
        n <- atomicModifyIORef' count $ \(n, b) ->
          ((n + 1, if good then b else b + 1), n + 1)
        putStrLn ((if good then "ok " else "not ok ") ++ show n ++ " - " ++ what)
      throws name go = either (\e -> quicErrorName e == name) (const False) <$> (try go)
      tagged t = defaultSendOptions { sendTag = t }

  told <- newChan
  let hear = quietActor
        { actorRole = Just TimeKeeper
        , actorCapabilities = [CanRoute, CanStore]
        , actorHandle = \s event -> case event of
            Message _ _ (QuicTransition b)
              | b == B.pack "throw" -> throwIO (userError "not this one")
              | b == B.pack "refuse" -> pure Refuse
            Requested _ request b
              | b == B.pack "nothing" -> Take <$ answerQuicRequest s request (NotFound "n\228il")
              | otherwise -> Take <$ answerQuicRequest s request (Resource (B.reverse b))
            _ -> pure Take
        }
      -- Waits for the fate of the message with this tag.
      fate t = readChan told >>= \event -> case event of
        FateOf _ tag f | tag == t -> pure f
        _ -> fate t

  server <- startQuicServer local hear AnyKey
  withQuicServer local quietActor { actorHandle = \_ e -> Take <$ writeChan told e } AnyKey $
    \client -> do
      let peer = quicServerPeerId server
          send t c = sendQuicMessageWith (tagged t) client c . QuicTransition . B.pack
      c <- connectToQuicUri client (quicServerUri server)
      send 1 c "take"
      fate 1 >>= \f -> ok (f == Delivered) "what the actor took is delivered"
      send 2 c "refuse"
      fate 2 >>= \f -> ok (refused f) "what it refuses is not"
      send 3 c "throw"
      fate 3 >>= \f -> ok (refused f) "nor what makes it throw"
      send 4 c ""
      fate 4 >>= \f -> ok (f == Delivered) "and it goes on; a message may be empty"

      answer <- requestQuicResource client peer 5000 (B.pack "abc")
      ok (answer == B.pack "cba") "a request waits for its answer"
      none <- try (requestQuicResource client peer 5000 (B.pack "nothing"))
      ok (none == Left (refusal "not found: n\228il")) "one that is refused throws, with the text"

      n <- broadcastQuicMessageWith (tagged 5) client (QuicTransition (B.pack "all"))
      f5 <- fate 5
      ok (n == 1 && f5 == Delivered) "a broadcast reaches who is connected"
      asked <- discoverQuicPeers client [CanStore]
      announcePeer client
      peers <- filter ((== peer) . qpId) <$> quicPeers client
      ok (asked == 1 && map qpConnected peers == [True]
               && map qpRole peers == [Just TimeKeeper]
               && map qpCapabilities peers == [[CanRoute, CanStore]]
               && all (isJust . qpPublicKey) peers) "peers are known with role and capabilities"
      setQuicLoad server 700 250
      let itself = filter ((== peer) . qpId) <$> quicPeers client
          until' good go tries = go >>= \x ->
            if good x || tries == (0 :: Int) then pure x
            else threadDelay 10000 >> until' good go (tries - 1)
      loaded <- until' (all ((== Just 700) . qpLoad)) itself 1000
      ok (map qpLoad loaded == [Just 700] && map qpCapacity loaded == [250])
              "a load and a capacity are told"
      chosen <- forM [ByKey (B.pack "key"), LeastRoundTrip, TwoChoices] $ \policy ->
        selectQuicPeers client policy [CanStore] 3
      nobody <- selectQuicPeers client TwoChoices [CanValidate] 3
      ok (chosen == [[peer], [peer], [peer]] && null nobody) "who can do it is chosen"
      ok (peerIdFromText (show peer) == Just peer && peerIdFromText "x" == Nothing)
              "an id can be written and read"

      u <- throws "TBQ_ERR_UNSUPPORTED" (sendQuicMessage client c (QuicPeerList []))
      ok u "what the library sends by itself is not sent by hand"
      t <- throws "TBQ_ERR_TOO_LARGE"
             (sendQuicMessage client c (QuicTransition (B.replicate 2000000 'x')))
      ok t "a message that is too large is named"
      a <- throws "TBQ_ERR_ADDRESS" (connectToQuicUri client "nonsense")
      ok a "an address that is none is named"
      i <- throws "TBQ_ERR_IDENTITY"
             (connectToQuicUri client ("tbq://" ++ show (quicServerPeerId client) ++ "@"
                                       ++ quicServerAddress server))
      ok i "somebody else at a pinned address is named"
      forM_ peers $ \p -> forM_ (qpPublicKey p) $ \k -> do
        k' <- throws "TBQ_ERR_IDENTITY" (startQuicServer local quietActor (PubKey k))
        ok k' "a public key that is not the key's is named"
      p <- throws "TBQ_ERR_INVALID" (startQuicServer local { qcBindPort = 70000 } quietActor AnyKey)
      ok p "a port that does not fit is not cut"
      w <- try (startQuicServer local { qcPingInterval = 1 } quietActor AnyKey)
      ok (either (const True) (const False) (w :: Either QuicError QuicServer)
               && either (elem "ping_interval_ms" . words . quicErrorText) (const False) w)
              "a field out of its range is named"

      disconnectFromQuicPeer client c
      d <- throws "TBQ_ERR_CLOSED" (sendQuicMessage client c QuicDiscover)
      ok d "a connection that was closed is closed"

      -- Nobody answers here; who waits is let go when the server stops.
      waiting <- newEmptyMVar
      _ <- forkIO (try (connectToQuicUri client "192.0.2.1:9") >>= putMVar waiting)
      stopQuicServer client
      gone <- takeMVar waiting
      ok (either (\e -> quicErrorName e `elem` ["TBQ_ERR_STOPPED", "TBQ_ERR_CLOSED"])
                      (const False) gone) "who waits is told when the server stops"
      z <- throws "TBQ_ERR_CLOSED" (announcePeer client)
      ok z "a stopped server says so"

  stopQuicServer server
  stopQuicServer server
  within <- newEmptyMVar
  itself <- startQuicServer local quietActor
    { actorHandle = \s _ -> Take <$ (stopQuicServer s >> tryPutMVar within ()) } AnyKey
  withQuicServer local quietActor AnyKey $ \client -> do
    _ <- connectToQuicUri client (quicServerUri itself)
    takeMVar within
  ok True "stopping may be repeated, and done by the actor"
  (n, bad) <- readIORef count
  putStrLn ("1.." ++ show n)
  when (bad > 0) exitFailure
  where
    refused (NotDelivered e) = quicErrorName e == "TBQ_ERR_REFUSED"
    refused _ = False
    refusal = QuicFailure (-20) "TBQ_ERR_REFUSED"
